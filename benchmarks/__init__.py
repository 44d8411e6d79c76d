"""Benchmark of a training step: our engine compared with TRL and with the machine's lower bound.

Run it with ``python -m benchmarks`` or ``make bench``. This process never imports torch. Every measurement
runs in a fresh child process, so peak memory is the child's own and contenders do not affect each other.
"""
