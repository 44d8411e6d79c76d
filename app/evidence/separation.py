"""How many more votes would tell two models apart."""

import numpy as np
from scipy.special import expit

from app.evidence.games import Floats, Ints
from app.evidence.intervals import Z, reach

LARGEST = 1_000_000
"""Largest estimate that is given. The difference behind a larger one is indistinguishable from 0."""


def more_votes(counts: Ints, strengths: Floats, samples: Floats, prompts: int) -> Floats:
    """Estimated number of further votes between two models that separate them at the present difference.

    The standard error se of a difference d falls with 1 / sqrt(votes), so n votes become enough after
    n ((z se / d)^2 - 1) more. The two models are also compared through others. n is therefore the number of
    direct votes that carry the same information: 1 / (p (1 - p) r), where p = sigma(d), and r is the variance
    of d under the model, from the pseudo-inverse of the Fisher information. The bootstrap's se, unlike r,
    contains the effects of ties and of votes that share a prompt.

    Args:
        counts: games of each pair, shape [models, models].
        strengths: shape [models].
        samples: strengths of the replicates, shape [replicates, models].
        prompts: number of prompts behind the strengths.

    Returns:
        Votes rounded up to two digits, shape [models, models]. 0 where the t interval of the difference does
        not contain 0. NaN on the diagonal and above `LARGEST`.
    """
    difference = strengths[:, None] - strengths[None, :]
    slope = expit(difference) * expit(-difference)
    information = -counts * slope
    np.fill_diagonal(information, -information.sum(axis=1))
    inverse = np.linalg.pinv(information, hermitian=True)
    diagonal = np.diag(inverse)
    variance = diagonal[:, None] + diagonal[None, :] - 2 * inverse
    covariance = np.cov(samples, rowvar=False)
    spread = np.diag(covariance)
    square = spread[:, None] + spread[None, :] - 2 * covariance
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = (Z * Z * square / difference**2 - 1) / (slope * variance)
    needed = np.maximum(needed, 1)
    needed[reach(prompts) * np.sqrt(np.maximum(square, 0)) <= np.abs(difference)] = 0
    needed[~(needed <= LARGEST)] = np.nan
    np.fill_diagonal(needed, np.nan)
    return round_up(needed)


def round_up(votes: Floats) -> Floats:
    """Whole numbers, rounded up to two digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        step = 10.0 ** np.maximum(np.floor(np.log10(votes)) - 1, 0)
    rounded: Floats = np.where(votes > 0, np.ceil(votes / step) * step, votes)
    return rounded
