"""Agreement: Krippendorff's published example, known extremes, and intervals."""

import numpy as np
import pytest

from app.evidence.agreement import agreement

EXAMPLE = [
    [1, 1, None, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [None, 5, 5, 5],
    [None, None, 1, 1],
    [None, None, 3, None],
]
"""Four observers and twelve units (Krippendorff 2011, section C). Nominal alpha is 0.743."""


def counts(units: list[list[int | None]], categories: int) -> np.ndarray:
    return np.array([[unit.count(value) for value in range(1, categories + 1)] for unit in units])


def test_the_published_example() -> None:
    found = agreement(counts(EXAMPLE, 5))
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert (found.units, found.votes) == (11, 40)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.743 < found.high <= 1


def test_perfect_agreement_and_its_opposite() -> None:
    same = agreement(np.array([[2, 0], [0, 2], [3, 0]]))
    assert (same.alpha, same.rate) == (1, 1)
    never = agreement(np.array([[1, 1]] * 4))
    assert never.rate == 0
    assert never.alpha == pytest.approx(1 - 7 * 4 * 2 / (64 - 32))


def test_pairs_that_agree_are_counted() -> None:
    found = agreement(np.array([[2, 1, 0], [0, 2, 0], [1, 0, 0]]))
    assert (found.units, found.votes, found.pairs) == (2, 5, 4)
    assert found.rate == 0.5


def test_without_a_second_vote_or_a_second_category_there_is_no_alpha() -> None:
    nobody = agreement(np.zeros((0, 3), np.int64))
    assert (nobody.alpha, nobody.rate, nobody.pairs) == (None, None, 0)
    assert agreement(np.array([[1, 0], [0, 1]])).alpha is None
    alike = agreement(np.array([[2, 0]] * 9))
    assert (alike.alpha, alike.low, alike.rate) == (None, None, 1)


def test_few_units_have_no_interval() -> None:
    found = agreement(np.array([[2, 0], [1, 1], [0, 2], [0, 2]]))
    assert found.alpha is not None
    assert found.low is None


def test_votes_at_random_have_an_alpha_near_zero_and_an_interval_around_it() -> None:
    source = np.random.default_rng(0)
    drawn = np.array([np.bincount(source.integers(0, 3, 3), minlength=3) for _ in range(400)])
    found = agreement(drawn)
    assert found.alpha == pytest.approx(0, abs=0.06)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
