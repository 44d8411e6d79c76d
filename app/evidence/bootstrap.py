"""Bootstrap over prompts: the votes on one prompt are drawn together (Field and Welsh 2007)."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from app.evidence.games import Floats

LEVEL = 0.95
Z = float(ndtri((1 + LEVEL) / 2))
FEWEST_PROMPTS = 5
"""With fewer prompts no interval is given: too few distinct resamples exist."""

CELLS = 2_000_000
"""Numbers of one block of weights; a block holds whole replicates."""


Statistic = Callable[[Floats], Floats]
"""Maps weights of the prompts, shape [replicates, prompts], to values of shape [replicates, values]."""


def bootstrap(statistics: Sequence[Statistic], prompts: int, *, replicates: int, seed: int) -> list[Floats]:
    """Values of each statistic in each replicate, shape [replicates, values]. All see the same resamples."""
    blocks = [[statistic(block) for statistic in statistics] for block in weights(prompts, replicates, seed)]
    return [np.concatenate(values) for values in zip(*blocks, strict=True)]


def weights(prompts: int, replicates: int, seed: int) -> Iterator[Floats]:
    """How often each replicate draws each prompt, in blocks of shape [replicates of the block, prompts]."""
    generator = np.random.default_rng(seed)
    block = max(1, CELLS // max(prompts, 1))
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        drawn = generator.integers(0, prompts, size=(rows, prompts))
        drawn += np.arange(rows)[:, None] * prompts
        yield np.bincount(drawn.ravel(), minlength=rows * prompts).reshape(rows, prompts).astype(np.float64)


def interval(samples: Floats, clusters: int) -> tuple[float, float] | None:
    """Expanded percentile interval (Hesterberg 2015, The American Statistician 69:371-386).

    A percentile interval is too narrow with few clusters, by the factor sqrt((n - 1) / n) and because a
    normal quantile stands where Student's t belongs. The quantiles are moved outwards by both.

    Args:
        samples: the statistic in each replicate, shape [replicates]; NaN where it does not exist.
        clusters: number of prompts behind the statistic.

    Returns:
        The bounds of the 95% interval, or None with fewer than `FEWEST_PROMPTS` prompts.
    """
    if clusters < FEWEST_PROMPTS or np.isnan(samples).all():
        return None
    tail = float(ndtr(-quantile(clusters)))
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def quantile(clusters: int) -> float:
    """The quantile of Student's t for a 95% interval from n clusters, times sqrt(n / (n - 1))."""
    return float(stdtrit(clusters - 1, (1 + LEVEL) / 2)) * float(np.sqrt(clusters / (clusters - 1)))
