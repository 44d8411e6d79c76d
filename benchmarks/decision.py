"""Whether a sample fits what it should be drawn from."""

from collections.abc import Sequence
from math import cbrt, sqrt

_ERRORS = 3.0


def means_agree(mean: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two (mean, standard error) lie within three standard errors of their difference."""
    return abs(mean[0] - other[0]) <= _ERRORS * sqrt(mean[1] ** 2 + other[1] ** 2)


def chi_square_fits(statistic: float, freedom: int) -> bool:
    """Whether a chi-square statistic is below three standard deviations (Wilson and Hilferty, 1931):
    its cube root is nearly normal.
    """
    variance = 2 / (9 * freedom)
    return cbrt(statistic / freedom) <= 1 - variance + _ERRORS * sqrt(variance)
