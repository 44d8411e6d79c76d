"""95% intervals from a bootstrap's standard error. docs/evidence.md has their coverage in simulations."""

import numpy as np
from scipy.special import ndtri, stdtrit

from app.evidence.bootstrap import FEWEST_PROMPTS
from app.evidence.games import Floats

LEVEL = 0.95
Z = float(ndtri((1 + LEVEL) / 2))
Bounds = tuple[float, float]


def t_interval(estimate: float, samples: Floats, prompts: int) -> Bounds | None:
    """estimate -+ t se sqrt(n / (n - 1)), for a log-odds.

    se is the standard deviation of the replicates, and t the quantile of Student's distribution with n - 1
    degrees of freedom. The root corrects the bootstrap's bias with few clusters (Hesterberg 2015, The
    American Statistician 69:371-386).

    Args:
        samples: the replicates, shape [replicates].
        prompts: n, the number of prompts behind the estimate.

    Returns:
        The bounds, or None with fewer than `FEWEST_PROMPTS` prompts.
    """
    if prompts < FEWEST_PROMPTS:
        return None
    half = reach(prompts) * float(samples.std(ddof=1))
    return estimate - half, estimate + half


def mean_interval(mean: float, stderr: float, count: int) -> Bounds | None:
    """mean -+ t se, for the mean of independent values with their standard error.

    Args:
        count: number of values; t has count - 1 degrees of freedom.

    Returns:
        The bounds, or None with fewer than two values.
    """
    if count < 2:
        return None
    half = _t(count) * stderr
    return mean - half, mean + half


def reach(prompts: int) -> float:
    """Half the width of a t interval, in standard deviations of the replicates: t sqrt(n / (n - 1))."""
    return _t(prompts) * float(np.sqrt(prompts / (prompts - 1)))


def share_interval(share: float, samples: Floats, prompts: int) -> Bounds | None:
    """Wilson's interval of a share, with the effective number of independent votes (Korn and Graubard 1998).

    That number is p (1 - p) / se^2, where se is the standard deviation of the replicates. Multiplication with
    (z / t)^2 accounts for the degrees of freedom, prompts - 1. If the replicates do not differ, as after wins
    only or ties only, each prompt counts as one vote.

    Args:
        samples: the replicates, shape [replicates]; NaN in a replicate without votes.
        prompts: number of prompts behind the share.

    Returns:
        The bounds, or None with fewer than `FEWEST_PROMPTS` prompts.
    """
    if prompts < FEWEST_PROMPTS:
        return None
    variance = float(np.nanvar(samples, ddof=1))
    spread = share * (1 - share)
    effective = spread / variance if variance > 0 and spread > 0 else float(prompts)
    votes = effective * (Z / _t(prompts)) ** 2
    middle = share + Z * Z / (2 * votes)
    half = Z * float(np.sqrt(spread / votes + Z * Z / (4 * votes * votes)))
    scale = 1 + Z * Z / votes
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _t(prompts: int) -> float:
    return float(stdtrit(prompts - 1, (1 + LEVEL) / 2))
