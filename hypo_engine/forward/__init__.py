"""The forward and backward pass of a causal language model over packed tokens."""
