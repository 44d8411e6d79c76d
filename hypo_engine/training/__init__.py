"""The training loop, from preparation to the last checkpoint."""
