"""What a step costs: our engine held against TRL and against what the machine could do at best.

``python -m benchmarks`` (or ``make bench``) runs it. This process never imports torch: every measurement is
a fresh child, so that peak memory is the child's own and nothing of one contender is left for the next.
"""
