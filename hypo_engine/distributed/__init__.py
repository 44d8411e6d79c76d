"""Several processes on one run, sharded weights, and full memory."""
