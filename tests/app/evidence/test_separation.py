"""Votes that would tell two models apart."""

import math

import numpy as np
import pytest

from app.evidence import make_board
from app.evidence.intervals import Z
from app.evidence.separation import more_votes, round_up
from tests.app.evidence.votes import games


def samples(deviation: float, models: int = 2) -> np.ndarray:
    """Centred replicates in which the difference of two models has the standard deviation."""
    draws = np.random.default_rng(0).standard_normal((4000, models))
    draws -= draws.mean(axis=1, keepdims=True)
    scale = np.std(draws[:, 0] - draws[:, 1], ddof=1)
    return draws * deviation / scale


def test_two_models_follow_the_rule_of_the_square_root() -> None:
    counts = np.array([[0, 100], [100, 0]])
    found = more_votes(counts, np.array([0.1, -0.1]), samples(0.2), 1000)
    expected = 100 * ((Z * 0.2 / 0.2) ** 2 - 1)
    assert found[0, 1] == round_up(np.array([expected]))[0]
    assert found[1, 0] == found[0, 1]


def test_separated_models_need_none_and_equal_models_are_unknown() -> None:
    counts = np.array([[0, 100], [100, 0]])
    assert more_votes(counts, np.array([1.0, -1.0]), samples(0.2), 1000)[0, 1] == 0
    assert math.isnan(more_votes(counts, np.zeros(2), samples(0.2), 1000)[0, 1])


def test_models_that_met_only_through_a_third_have_an_estimate() -> None:
    """Two steps of 100 votes carry the information of 50 direct ones, near equal strengths."""
    counts = np.array([[0, 100, 0], [100, 0, 100], [0, 100, 0]])
    found = more_votes(counts, np.array([0.05, 0.0, -0.05]), samples(0.2, models=3)[:, [0, 2, 1]], 1000)
    assert found[0, 2] == pytest.approx(50 * ((Z * 0.2 / 0.1) ** 2 - 1), rel=0.05)


def test_the_estimate_is_about_right() -> None:
    """That many more votes at the same shares bring the interval of the difference to the edge of 0."""
    few = [(prompt, 0, 1, float(prompt % 100 < 55)) for prompt in range(100)]
    more = make_board(games(*few), 2, reference=None).more_votes[0, 1]
    assert 200 < more < 400
    many = [(prompt, 0, 1, float(prompt % 100 < 55)) for prompt in range(100 + int(more))]
    low = make_board(games(*many), 2, reference=None).ratings[0].low
    assert low == pytest.approx(0, abs=0.02)


def test_votes_are_rounded_up_to_two_digits() -> None:
    found = round_up(np.array([0.0, 0.2, 7.5, 99.1, 101.0, 12345.0, math.nan]))
    assert found[:-1].tolist() == [0, 1, 8, 100, 110, 13000]
    assert math.isnan(found[-1])
