"""Bootstrap over prompts: the votes on one prompt are drawn together (Field and Welsh 2007)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.evidence.games import Floats

FEWEST_PROMPTS = 5
"""With fewer prompts no interval is given: their resamples are too few to show the spread."""

CELLS = 2_000_000
"""Weights of one block; a block holds whole replicates."""


@dataclass(frozen=True, slots=True)
class Resample:
    """Replicates of the votes, or the votes themselves.

    A statistic whose estimate could be infinite adds a tie to the votes. The outcome of the added game is
    unknown, so each replicate draws it uniformly from 0 to 1. If it were always 0.5, all replicates of a
    model that won everything would be equal, and its interval would have no width.
    """

    weights: Floats
    """How often each replicate contains each prompt, shape [replicates, prompts]."""
    generator: np.random.Generator | None = None
    """Source of the outcomes; None for the votes themselves, where added games are ties."""

    def added_outcomes(self, games: int) -> Floats:
        """Outcomes of added games, shape [replicates, games]."""
        shape = (len(self.weights), games)
        return np.full(shape, 0.5) if self.generator is None else self.generator.random(shape)


Statistic = Callable[[Resample], Floats]
"""Maps replicates to values of shape [replicates, values]."""


def bootstrap(statistics: Sequence[Statistic], prompts: int, *, replicates: int, seed: int) -> list[Floats]:
    """Values of each statistic in each replicate, shape [replicates, values]. All see the same resamples."""
    blocks = [[statistic(block) for statistic in statistics] for block in _blocks(prompts, replicates, seed)]
    return [np.concatenate(values) for values in zip(*blocks, strict=True)]


def estimate(statistic: Statistic, prompts: int) -> Floats:
    """The statistic of the votes themselves, shape [values]."""
    found: Floats = statistic(Resample(np.ones((1, prompts))))[0]
    return found


def _blocks(prompts: int, replicates: int, seed: int) -> Iterator[Resample]:
    generator = np.random.default_rng(seed)
    block = max(1, CELLS // prompts)
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        drawn = generator.integers(0, prompts, size=(rows, prompts))
        drawn += np.arange(rows)[:, None] * prompts
        weights = np.bincount(drawn.ravel(), minlength=rows * prompts).reshape(rows, prompts)
        yield Resample(weights.astype(np.float64), generator)
