"""Statistical tests of whether a sample fits its expected distribution."""

from collections.abc import Sequence
from math import cbrt, sqrt

_ERRORS = 3.0


def means_agree(mean: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two (mean, standard error) differ by at most three standard errors of their difference."""
    return abs(mean[0] - other[0]) <= _ERRORS * sqrt(mean[1] ** 2 + other[1] ** 2)


def chi_square_fits(statistic: float, freedom: int) -> bool:
    """Whether a chi-square statistic is within three standard deviations.

    Its cube root is nearly normal (Wilson and Hilferty, 1931).
    """
    variance = 2 / (9 * freedom)
    return cbrt(statistic / freedom) <= 1 - variance + _ERRORS * sqrt(variance)
