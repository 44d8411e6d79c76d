"""C kernels for float32 on a CPU, and the Python code that calls them."""
