"""Agreement of pairs of verdicts, with an interval over prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.evidence.intervals import share_interval


@dataclass(frozen=True, slots=True)
class AgreementRate:
    """The share of pairs of verdicts on the same two answers that are equal.

    `rate` is None without a pair. `low` and `high` bound the 95% interval. They are None with fewer than 5
    prompts.
    """

    rate: float | None
    low: float | None
    high: float | None
    pairs: int
    prompts: int


def agreement_rate(
    prompt: Sequence[int],
    equal: Sequence[int],
    pairs: Sequence[int],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> AgreementRate:
    """Compute the agreement of pairs of verdicts.

    The interval comes from a bootstrap over prompts, because verdicts on one prompt are not independent.

    Args:
        prompt: any number that identifies the prompt, shape [units].
        equal: equal pairs of verdicts, shape [units].
        pairs: all pairs of verdicts, shape [units].
    """
    total = int(np.sum(pairs, dtype=np.int64))
    if not total:
        return AgreementRate(None, None, None, 0, 0)
    prompts, place = np.unique(np.asarray(prompt)[np.asarray(pairs) > 0], return_inverse=True)
    counted = np.asarray(pairs) > 0
    agreed = np.bincount(place, np.asarray(equal, np.float64)[counted], len(prompts))
    met = np.bincount(place, np.asarray(pairs, np.float64)[counted], len(prompts))
    rate = float(agreed.sum() / met.sum())
    each = np.full(len(prompts), 1 / len(prompts))
    weights = np.random.default_rng(seed).multinomial(len(prompts), each, size=replicates).astype(np.float64)
    bounds = share_interval(rate, (weights @ agreed) / (weights @ met), len(prompts))
    low, high = bounds or (None, None)
    return AgreementRate(rate, low, high, total, len(prompts))
