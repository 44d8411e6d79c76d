"""Comparisons of methods: paired over seeds, intervals by bootstrap over prompts. Pure functions of arrays.

All methods answer the same held-out prompts with the same random numbers, so a resample of the prompts is the
same for all seeds and methods.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Verdict = Literal["supported", "not_supported", "undecided", "not_measured"]

RESAMPLES: Final = 1000
LEVELS: Final = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Gold rewards at which two frontiers are compared: shares of the gain that both reach."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A setting in one regime along its steps; the arrays are [seeds, steps, prompts].

    The first step is 0, the reference.
    """

    setting: str
    family: str
    seeds: Sequence[int]
    steps: Sequence[int]
    gold: Array
    kl: Array

    def points(self, weights: Array) -> tuple[Array, Array]:
        """KL and gold of each step after the first, means over seeds and weighted prompts: [steps - 1]."""
        kl = self.kl[:, 1:].mean(axis=0) @ weights
        return kl, self.gold[:, 1:].mean(axis=0) @ weights

    def start(self, weights: Array) -> float:
        """The reference's gold reward."""
        return float(self.gold[:, 0].mean(axis=0) @ weights)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95% interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Whether the interval shows the number to be positive, as a hypothesis says."""
        if not np.isfinite([self.value, self.low, self.high]).all():
            return "undecided"
        return "supported" if self.low > 0 else "not_supported" if self.high < 0 else "undecided"


Statistic = Callable[[Array], float]
"""A number computed from weights of the prompts, which sum to 1."""


def bootstrap(statistic: Statistic, prompts: int, *, seed: int = 0) -> Estimate:
    """The statistic with its 95% interval over resampled prompts.

    It is not defined if it is not on every twentieth resample.
    """
    values = np.array([statistic(weights) for weights in resamples(prompts, seed)])
    return _estimated(statistic(np.full(prompts, 1 / prompts)), values)


def mean(values: Array, *, seed: int = 0) -> Estimate:
    """The mean of a value for each prompt, as :func:`bootstrap` would give it."""
    return _estimated(float(values.mean()), resamples(len(values), seed) @ values)


@lru_cache(maxsize=8)
def resamples(prompts: int, seed: int) -> Array:
    """Weights of the prompts in each resample: [resamples, prompts]."""
    draw = np.random.default_rng(seed)
    return draw.multinomial(prompts, np.full(prompts, 1 / prompts), size=RESAMPLES) / prompts


def _estimated(value: float, values: Array) -> Estimate:
    known = values[np.isfinite(values)]
    if len(known) < 0.95 * RESAMPLES:
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


# --- the frontier ----------------------------------------------------------------------------


def frontier(curves: Sequence[Curve], weights: Array) -> tuple[Array, Array]:
    """KL and gold of the points that no point with less KL equals: of all settings and steps of a family.

    The reference at KL 0 is the first. Stopping early is a point of the same curve.
    """
    kl = np.concatenate([[0.0], *(curve.points(weights)[0] for curve in curves)])
    gold = np.concatenate([[curves[0].start(weights)], *(curve.points(weights)[1] for curve in curves)])
    order = np.argsort(np.maximum(kl, 0.0), kind="stable")
    kl, gold = np.maximum(kl, 0.0)[order], gold[order]
    best = np.maximum.accumulate(gold)
    kept = np.concatenate([[True], gold[1:] > best[:-1]])
    return kl[kept], gold[kept]


def kl_gap(dear: Sequence[Curve], cheap: Sequence[Curve], weights: Array) -> float:
    """How many nats more one family needs than another for the same gold reward: a mean over `LEVELS`.

    Between two points of a frontier the KL is interpolated. NaN if a family does not gain anything.
    """
    kl_a, gold_a = frontier(dear, weights)
    kl_b, gold_b = frontier(cheap, weights)
    start, top = gold_a[0], min(gold_a[-1], gold_b[-1])
    if top <= start:
        return np.nan
    wanted = start + np.array(LEVELS) * (top - start)
    return float(np.mean(np.interp(wanted, gold_a, kl_a) - np.interp(wanted, gold_b, kl_b)))


# --- bending down ----------------------------------------------------------------------------


def drop(curves: Sequence[Curve], weights: Array) -> float:
    """How far the gold reward falls from its peak to the point with the most KL.

    The peak is chosen on every other prompt and measured on the rest, and the other way round: the best of
    many noisy points looks better than it is. 0 if the peak has the most KL. NaN if a half has no weight.
    """
    even = np.arange(len(weights)) % 2 == 0
    halves = [np.where(even, weights, 0.0), np.where(even, 0.0, weights)]
    if min(half.sum() for half in halves) == 0:
        return np.nan
    found = []
    for choose, judge in (halves, halves[::-1]):
        _, seen = _all_points(curves, choose / choose.sum())
        kl, gold = _all_points(curves, judge / judge.sum())
        found.append(gold[seen.argmax()] - gold[kl.argmax()])
    return float(np.mean(found))


def _all_points(curves: Sequence[Curve], weights: Array) -> tuple[Array, Array]:
    points = [curve.points(weights) for curve in curves]
    return np.concatenate([kl for kl, _ in points]), np.concatenate([gold for _, gold in points])


# --- proxy and gold --------------------------------------------------------------------------


def overvalued(proxy: Array, gold: Array, weights: Array) -> float:
    """How much further a proxy rose than the gold reward, each in deviations of the reference's answers.

    Args:
        proxy, gold: [seeds, steps, prompts]; the first step is the reference, the last one is compared.
    """
    gains = []
    for values in (proxy, gold):
        deviation = float(values[:, 0].std()) or 1.0
        gains.append(float((values[:, -1] - values[:, 0]).mean(axis=0) @ weights) / deviation)
    return gains[0] - gains[1]
