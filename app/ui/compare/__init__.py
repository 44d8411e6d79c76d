"""The page on which models answer side by side."""
