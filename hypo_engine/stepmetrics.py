"""Weighted means of named values: over the batches of a step, and over the steps between two reports."""

from collections import defaultdict
from collections.abc import Mapping

_LAST_VALUE = frozenset({"learning_rate", "epoch", "num_tokens"})
"""Counters and settings, of which the last value counts and not the mean."""


class StepMetrics:
    """Adds up named values and gives their means."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._weights: dict[str, float] = defaultdict(float)

    def add(self, values: Mapping[str, float], weight: float = 1.0) -> None:
        """Add one batch's or one step's values."""
        for name, value in values.items():
            if name in _LAST_VALUE:
                self._sums[name], self._weights[name] = value, 1.0
            else:
                self._sums[name] += weight * value
                self._weights[name] += weight

    def means(self) -> dict[str, float]:
        """The mean of each value, or its last where a mean says nothing."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}
