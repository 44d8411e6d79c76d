"""The reports page, and the files of a report."""
