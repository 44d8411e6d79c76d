"""Base models, adapters, and the trained policy."""
