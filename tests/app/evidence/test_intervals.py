"""Intervals: agreement with textbook formulas, votes that share a prompt, and votes that all agree."""

import math
from dataclasses import replace

import numpy as np
import pytest

from app.evidence import Rating, WinRate, make_board, mean_interval
from app.evidence.intervals import robust_error, share_interval, t_interval
from tests.app.evidence.votes import Row, games


def against(*rows: Row) -> WinRate:
    found = make_board(games(*rows), 2, reference=1).against[0]
    assert found is not None
    return found


def first_rating(*rows: Row) -> Rating:
    return make_board(games(*rows), 2, reference=1).ratings[0]


def votes(prompts: int, wins: int, copies: int = 1) -> list[Row]:
    """Votes on prompts, all of the same verdict on each prompt; the first `wins` prompts are won."""
    return [(prompt, 0, 1, float(prompt < wins)) for prompt in range(prompts) for _ in range(copies)]


def width(found: Rating | WinRate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_one_vote_a_prompt_gives_about_wilsons_interval() -> None:
    found = against(*votes(200, 140))
    assert (found.low, found.high) == pytest.approx((0.633, 0.759), abs=0.01)


def test_one_vote_a_prompt_gives_about_the_normal_interval_of_the_log_odds() -> None:
    """The strength is half the log-odds of two models, so its error is half of sqrt(1/wins + 1/losses)."""
    found = first_rating(*votes(200, 140))
    expected = 1.96 * math.sqrt(1 / 140.5 + 1 / 60.5)
    assert width(found) == pytest.approx(expected, rel=0.1)


def test_repeated_votes_on_the_same_prompts_add_little() -> None:
    """Five voters who always agree are worth one. Intervals over votes would shrink to 45%."""
    once, five = votes(60, 40), votes(60, 40, copies=5)
    assert width(against(*five)) > 0.95 * width(against(*once))
    assert width(first_rating(*five)) > 0.95 * width(first_rating(*once))


def test_votes_that_all_agree_leave_a_wide_interval() -> None:
    """Six wins of six: Wilson's lower bound is 0.61, and t with five degrees of freedom moves it down."""
    rows = votes(6, 6)
    found = against(*rows)
    assert found.rate == found.high == 1
    assert found.low is not None
    assert 0.4 < found.low < 0.61
    rating = first_rating(*rows)
    assert rating.low is not None
    assert rating.low < 0 < rating.high
    assert make_board(games(*rows), 2, reference=1).more_votes[0, 1] > 0


def test_ties_alone_leave_an_interval_about_one_half() -> None:
    found = against(*[(prompt, 0, 1, 0.5) for prompt in range(20)])
    assert found.low is not None
    assert found.low == pytest.approx(1 - found.high)
    assert 0.2 < found.low < 0.4


def test_the_reference_wins_what_the_model_loses() -> None:
    rows = votes(50, 30)
    forward = against(*rows)
    backward = make_board(games(*rows), 2, reference=0).against[1]
    assert backward is not None
    assert (backward.rate, backward.low, backward.high) == pytest.approx(
        (1 - forward.rate, 1 - forward.high, 1 - forward.low), abs=1e-9
    )


def test_fewer_than_five_prompts_give_none() -> None:
    samples = np.array([0.4, 0.5, 0.6])
    assert t_interval(0.5, 0.1, 4) is None
    assert share_interval(0.5, samples, 4) is None
    assert t_interval(0.5, 0.1, 5) is not None


def test_a_replicate_without_votes_of_a_pair_is_left_out() -> None:
    found = share_interval(0.5, np.array([0.4, math.nan, 0.6]), 5)
    assert found == share_interval(0.5, np.array([0.4, 0.6]), 5)


def test_resamples_far_out_do_not_widen_the_error_of_a_strength() -> None:
    samples = np.random.default_rng(1).normal(0.3, 0.2, 5000)
    assert robust_error(samples) == pytest.approx(0.2, rel=0.05)
    samples[:100] = 6.0
    assert robust_error(samples) == pytest.approx(0.2, rel=0.1)
    assert samples.std() > 0.8


@pytest.mark.parametrize(("prompts", "t"), [(10, 2.0930), (40, 2.0227)])
def test_the_interval_of_a_share_is_students_over_the_effective_votes(prompts: int, t: float) -> None:
    """Effective votes are p (1 - p) / se^2, here 20; t has 19 degrees of freedom, or more of more prompts."""
    error = math.sqrt(0.24 / 20 * (prompts - 1) / prompts)
    samples = 0.6 + error * np.array([-1.0, 1.0] * 5000)
    scale = 1 + t**2 / 20
    half = t * math.sqrt(0.24 / 20 + t**2 / 4 / 20**2) / scale
    middle = (0.6 + t**2 / 40) / scale
    assert share_interval(0.6, samples, prompts) == pytest.approx((middle - half, middle + half), abs=1e-4)


def length_controlled(lengths: np.ndarray, scores: np.ndarray) -> WinRate:
    rows = [(prompt, 0, 1, float(score)) for prompt, score in enumerate(scores)]
    played = replace(games(*rows), length=lengths)
    found = make_board(played, 2, reference=1, replicates=200).against[0]
    assert found is not None
    return found


def test_a_preference_for_length_alone_is_one_half_at_equal_length() -> None:
    generator = np.random.default_rng(3)
    lengths = generator.normal(300, 300, 2000)
    chance = 1 / (1 + np.exp(-1.5 * np.tanh(lengths / lengths.std())))
    found = length_controlled(lengths, (generator.random(2000) < chance).astype(float))
    assert found.rate > 0.65
    assert found.controlled == pytest.approx(0.5, abs=0.04)
    assert found.controlled_low is not None
    assert found.controlled_low < 0.5 < found.controlled_high


def test_theta_is_the_maximum_of_the_penalized_likelihood() -> None:
    """The gradient of the stated likelihood, computed here, vanishes at the fit."""
    generator = np.random.default_rng(5)
    lengths, scores = generator.normal(100, 200, 40), generator.integers(0, 3, 40) / 2
    found = length_controlled(lengths, scores)
    assert found.controlled is not None
    x = np.tanh(lengths / lengths.std())
    theta = math.log(found.controlled / (1 - found.controlled))
    grid = np.linspace(-5, 5, 200_001)
    slope = (scores * x).sum() - np.array(
        [(x / (1 + np.exp(-theta - phi * x))).sum() + 0.1 * phi for phi in grid[::500]]
    )
    phi = float(np.interp(0, -slope, grid[::500]))
    chance = 1 / (1 + np.exp(-theta - phi * x))
    assert (scores - chance).sum() + 0.5 - found.controlled == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("lengths", [np.full(20, math.nan), np.full(20, 7.0)])
def test_lengths_that_are_unknown_or_equal_control_nothing(lengths: np.ndarray) -> None:
    found = length_controlled(lengths, np.arange(20) % 2)
    assert found.controlled is found.controlled_low is found.controlled_high is None
    assert found.low is not None


def test_a_longer_answer_that_always_wins_has_a_finite_rate() -> None:
    lengths = np.concatenate([np.full(10, 50.0), np.full(10, -50.0)])
    found = length_controlled(lengths, (lengths > 0).astype(float))
    assert found.controlled == pytest.approx(0.5, abs=1e-6)
    assert found.controlled_low is not None
    assert 0 < found.controlled_low < 0.5 < found.controlled_high < 1


def test_the_interval_of_a_mean_is_students() -> None:
    low, high = mean_interval(3.0, 0.5, 8) or (0.0, 0.0)
    assert (low, high) == pytest.approx((3 - 2.364624 * 0.5, 3 + 2.364624 * 0.5))
    assert mean_interval(3.0, 0.5, 1) is None
