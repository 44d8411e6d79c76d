"""The tests; this package is imported before anything whose lines are counted."""

import sys

# slipcover would take seen lines out of the code while it runs: it walks all frames for that, whose local
# variables then live longer than tests of memory expect, and which other threads may change meanwhile
counting = getattr(sys.modules.get("slipcover.pytest_plugin"), "_slipcover_instance", None)
if counting is not None:
    counting.d_miss_threshold = 2**31 - 1
