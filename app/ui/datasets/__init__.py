"""The datasets page."""
