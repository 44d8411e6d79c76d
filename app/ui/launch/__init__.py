"""The page that launches runs."""
