"""The section of automatic judges, on the pages of campaigns and runs."""
