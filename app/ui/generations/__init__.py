"""The page of all generated texts: search, one text, two of them compared."""
