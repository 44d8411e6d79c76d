"""A run from its preparation to its last checkpoint."""
