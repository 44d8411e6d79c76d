"""Several processes per run, sharded weights, and out-of-memory handling."""
