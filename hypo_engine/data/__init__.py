"""Preference data: rows of any known layout -> pairs -> token ids. No torch here."""
