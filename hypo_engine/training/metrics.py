"""Weighted means of named values over a step's batches and processes, and over the steps between reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypo_engine.methods.batch import ScoredResponse
    from hypo_engine.methods.objective import BatchResult
    from hypo_engine.methods.rollouts import DrawnBatch

_LAST_VALUE = frozenset({"learning_rate", "epoch", "num_tokens"})
"""Counters and settings, which report their last value instead of a mean."""


@dataclass(slots=True)
class StepMetrics:
    """Accumulates named values and returns their means."""

    sums: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, float], weight: float = 1.0) -> None:
        """Add one batch's or one step's values."""
        for name, value in values.items():
            if name in _LAST_VALUE:
                self.sums[name], self.weights[name] = value, 1.0
            else:
                self._count(name, weight * value, weight)

    def join(self, other: "StepMetrics") -> None:
        """Add the sums of another process."""
        for name, total in other.sums.items():
            self._count(name, total, other.weights[name])

    def means(self) -> dict[str, float]:
        """The mean of each value, or its last value for counters and settings."""
        return {name: total / self.weights[name] for name, total in self.sums.items()}

    def _count(self, name: str, total: float, weight: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + total
        self.weights[name] = self.weights.get(name, 0.0) + weight


@dataclass(slots=True)
class StepSums:
    """The sums of a step's batches, besides the gradient."""

    metrics: StepMetrics = field(default_factory=StepMetrics)
    responses: "list[ScoredResponse]" = field(default_factory=list)
    sampling_seconds: float = 0.0

    def add(self, result: "BatchResult | DrawnBatch", pairs: int) -> None:
        """Add a batch's result; a batch of weight zero is ignored."""
        if pairs:
            counts = result.counts
            self.metrics.add({n: v for n, v in result.metrics.items() if n not in counts}, weight=pairs)
            for name, count in counts.items():
                self.metrics.add({name: result.metrics[name]}, weight=count)
            self.responses += result.responses
        self.sampling_seconds += result.sampling_seconds

    @classmethod
    def joined(cls, parts: Sequence["StepSums"]) -> "StepSums":
        """The sums over all processes; sampling time is the maximum, because they sample concurrently."""
        whole = cls()
        for part in parts:
            whole.metrics.join(part.metrics)
            whole.responses += part.responses
        whole.sampling_seconds = max(part.sampling_seconds for part in parts)
        return whole
