"""The Label page: a campaign's comparisons, judged blind, one key each."""
