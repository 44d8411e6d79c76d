"""Kernels in C for float32 on a CPU, with the Python that calls them."""
