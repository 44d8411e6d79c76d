"""Reports of experiments: what is stored of them, and the numbers that are read when one is shown."""
