"""The compare page: models answer side by side."""
