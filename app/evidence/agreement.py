"""Agreement of voters: Krippendorff's alpha and the share of pairs of votes that agree."""

from dataclasses import dataclass

import numpy as np

from app.evidence.games import Floats, Ints

FEWEST_UNITS = 5
"""With fewer units that have two votes, there is no interval."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far voters agree on the units that several of them judged.

    `alpha` is 1 for perfect agreement, 0 for chance, and below 0 for less than chance; None if all votes are
    the same, where chance is undefined, or if no unit has two votes. `low` and `high` bound its 95% interval,
    the percentiles of a bootstrap over units; None with fewer than `FEWEST_UNITS`. `rate` is the share of
    pairs of votes on one unit that are equal, and `pairs` their number.
    """

    units: int
    votes: int
    pairs: int
    rate: float | None
    alpha: float | None
    low: float | None
    high: float | None


def agreement(counts: Ints, *, replicates: int = 1000, seed: int = 0) -> Agreement:
    """Compute the agreement of votes.

    Args:
        counts: number of votes by unit and category, shape [units, categories].
    """
    several = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    votes = several.sum(axis=1)
    pairs = votes * (votes - 1) / 2
    equal = (several * (several - 1)).sum(axis=1) / 2
    once = np.ones((1, len(several)))
    alpha = float(_alphas(several, once)[0]) if len(several) else float("nan")
    low = high = None
    if len(several) >= FEWEST_UNITS and not np.isnan(alpha):
        each = np.full(len(several), 1 / len(several))
        drawn = np.random.default_rng(seed).multinomial(len(several), each, size=replicates)
        samples = _alphas(several, drawn.astype(np.float64))
        low, high = (float(bound) for bound in np.nanpercentile(samples, [2.5, 97.5]))
    return Agreement(
        units=len(several),
        votes=int(votes.sum()),
        pairs=int(pairs.sum()),
        rate=float(equal.sum() / pairs.sum()) if len(several) else None,
        alpha=None if np.isnan(alpha) else alpha,
        low=low,
        high=high,
    )


def _alphas(counts: Floats, weights: Floats) -> Floats:
    """Nominal alpha of resamples (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section C).

    alpha = 1 - (n - 1) * sum_u disagreements_u / (n_u - 1) / (n^2 - sum_c n_c^2), with n_u votes on a unit,
    n_c votes for a category and n in all.

    Args:
        counts: shape [units, categories], each unit with at least two votes.
        weights: how often each unit was drawn, shape [resamples, units].

    Returns:
        Shape [resamples]; NaN where all votes are the same.
    """
    votes = counts.sum(axis=1)
    disagreements = (votes**2 - (counts**2).sum(axis=1)) / (votes - 1)
    total = weights @ votes
    by_category = weights @ counts
    expected = total**2 - (by_category**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = 1 - (total - 1) * (weights @ disagreements) / expected
    return np.where(expected > 0, found, np.nan)
