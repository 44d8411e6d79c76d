"""95% intervals from a bootstrap's standard error. docs/evidence.md has their coverage in simulations."""

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from app.evidence.bootstrap import FEWEST_PROMPTS
from app.evidence.games import Floats

LEVEL = 0.95
Z = float(ndtri((1 + LEVEL) / 2))
Bounds = tuple[float, float]


def t_interval(estimate: float, error: float, prompts: int) -> Bounds | None:
    """estimate -+ t se sqrt(n / (n - 1)), for a log-odds.

    t is the quantile of Student's distribution with n - 1 degrees of freedom. The root corrects the
    bootstrap's bias with few clusters (Hesterberg 2015, The American Statistician 69:371-386).

    Args:
        error: se, the standard error that the bootstrap gives.
        prompts: n, the number of prompts behind the estimate.

    Returns:
        The bounds, or None with fewer than `FEWEST_PROMPTS` prompts.
    """
    if prompts < FEWEST_PROMPTS:
        return None
    half = reach(prompts) * error
    return estimate - half, estimate + half


def robust_error(samples: Floats) -> float:
    """A standard error from the middle of the replicates: half the range of their middle 68%.

    It equals the standard deviation where replicates are normal. Resamples of few prompts may leave a model
    nearly without wins or losses. Their log-odds are far out, and the standard deviation of all replicates
    is too large (Machado and Parente 2005, The Econometrics Journal 8:70-78; Hahn and Liao 2021,
    Econometrica 89:1963-1977).

    Args:
        samples: the replicates, shape [replicates].
    """
    low, high = np.quantile(samples, ndtr([-1.0, 1.0]))
    return float(high - low) / 2


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

    That number is v = p (1 - p) / se^2, where se^2 is n / (n - 1) times the variance of the replicates.
    Student's t replaces the normal quantile. It has v - 1 degrees of freedom, as v independent votes have,
    but not fewer than n - 1, those of Korn and Graubard. If the replicates do not differ, as after wins only
    or ties only, each prompt counts as one vote.

    Args:
        samples: the replicates, shape [replicates]; NaN in a replicate without votes.
        prompts: n, the number of prompts behind the share.

    Returns:
        The bounds, or None with fewer than `FEWEST_PROMPTS` prompts.
    """
    if prompts < FEWEST_PROMPTS:
        return None
    variance = float(np.nanvar(samples, ddof=1)) * prompts / (prompts - 1)
    spread = share * (1 - share)
    effective = spread / variance if variance > 0 and spread > 0 else float(prompts)
    votes = effective * (Z / _t(max(effective, prompts))) ** 2
    middle = share + Z * Z / (2 * votes)
    half = Z * float(np.sqrt(spread / votes + Z * Z / (4 * votes * votes)))
    scale = 1 + Z * Z / votes
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _t(count: float) -> float:
    """The quantile of Student's distribution with one degree of freedom less than `count`."""
    return float(stdtrit(count - 1, (1 + LEVEL) / 2))
