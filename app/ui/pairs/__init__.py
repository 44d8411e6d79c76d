"""The page of a dataset's pairs under models."""
