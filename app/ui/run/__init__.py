"""The run page."""
