"""Cached log-probabilities of the reference."""
