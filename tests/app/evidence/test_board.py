"""The board: strengths against closed forms, models that cannot be rated, and repeatability."""

import math

import numpy as np
import pytest

from app.evidence import Board, Games, Missing, make_board
from app.evidence.bootstrap import Resample
from app.evidence.bradley_terry import Strengths
from tests.app.evidence.votes import Row, games


def board(*rows: Row, models: int, reference: int | None = None) -> Board:
    return make_board(games(*rows), models, reference=reference, replicates=200)


def test_two_models_have_the_log_odds_with_half_a_win_added_to_each() -> None:
    rows = [(prompt, 0, 1, 1.0 if prompt < 7 else 0.0) for prompt in range(10)]
    found = board(*rows, models=2)
    expected = math.log(7.5 / 3.5) / 2
    assert [rating.strength for rating in found.ratings] == pytest.approx([expected, -expected], abs=1e-6)


def test_the_order_of_two_models_in_a_game_does_not_matter() -> None:
    rows = [(prompt, 0, 1, [1.0, 0.5, 1.0, 0.0][prompt % 4]) for prompt in range(20)]
    swapped = [(prompt, 1, 0, 1 - score) for prompt, _, _, score in rows]
    assert board(*rows, models=2, reference=1).ratings == board(*swapped, models=2, reference=1).ratings


def test_a_tie_is_half_a_win_for_each() -> None:
    ties = board(*[(prompt, 0, 1, 0.5) for prompt in range(10)], models=2, reference=1)
    assert ties.ratings[0].strength == pytest.approx(0, abs=1e-9)
    assert ties.rates[0, 1] == 0.5
    assert ties.against[0] is not None
    assert ties.against[0].rate == 0.5


def test_strengths_are_those_of_a_transitive_table() -> None:
    """Expected scores of known strengths give the strengths back; many games make the added ties small."""
    strengths = np.array([0.8, 0.1, -0.9])
    rows = [
        (prompt, one, other, float(1 / (1 + np.exp(strengths[other] - strengths[one]))))
        for prompt in range(500)
        for one, other in [(0, 1), (1, 2), (2, 0)]
    ]
    found = [rating.strength for rating in board(*rows, models=3).ratings]
    assert found == pytest.approx(strengths, abs=0.01)


def test_a_model_that_won_everything_has_a_finite_strength() -> None:
    found = board(*[(prompt, 0, 1, 1.0) for prompt in range(10)], models=2)
    assert found.ratings[0].strength == pytest.approx(math.log(10.5 / 0.5) / 2, abs=1e-5)


def test_models_without_games_or_connection_are_listed_with_the_reason() -> None:
    rows = [(prompt, *pair, 1.0) for prompt in range(8) for pair in [(0, 1), (1, 2), (4, 5)]]
    found = board(*rows, models=6, reference=5)
    assert [rating.missing for rating in found.ratings] == [
        None,
        None,
        None,
        Missing.NO_GAMES,
        Missing.NOT_CONNECTED,
        Missing.NOT_CONNECTED,
    ]
    assert found.ratings[4].strength is None
    assert np.isnan(found.more_votes[0, 4])
    assert found.against[4] is not None
    assert [rate is None for rate in found.against] == [True, True, True, True, False, True]


def test_few_prompts_give_no_interval() -> None:
    found = board(*[(prompt % 4, 0, 1, float(prompt % 3 > 0)) for prompt in range(40)], models=2, reference=1)
    assert found.ratings[0].missing is Missing.FEW_PROMPTS
    assert found.ratings[0].strength is not None
    assert found.ratings[0].low is None
    assert found.against[0] is not None
    assert found.against[0].low is None
    assert np.isnan(found.more_votes).all()


def test_no_games_give_an_empty_board() -> None:
    none = np.zeros(0, dtype=np.int64)
    found = make_board(Games(none, none, none, np.zeros(0), np.zeros(0)), 2, reference=0)
    assert [rating.missing for rating in found.ratings] == [Missing.NO_GAMES] * 2
    assert found.against == [None, None]
    assert np.isnan(found.rates).all()


def test_the_same_seed_gives_the_same_board() -> None:
    rows = [(prompt, 0, 1, float(prompt % 3 > 0)) for prompt in range(40)]
    assert board(*rows, models=2, reference=1).ratings == board(*rows, models=2, reference=1).ratings


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, 1, 1, 1.0), "plays itself"),
        ((0, 0, 1, 2.0), "outside 0 to 1"),
        ((0, 0, 3, 1.0), "not on the board"),
    ],
)
def test_impossible_games_are_refused(row: Row, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        board(row, models=3)


def test_newtons_method_and_evalica_agree() -> None:
    """A replicate that contains each prompt once has the strengths that evalica fits."""
    generator = np.random.default_rng(2)
    pairs = [(one, other) for one in range(6) for other in range(one) if (one, other) != (5, 0)]
    rows = [(prompt, *pairs[prompt % len(pairs)], generator.integers(0, 3) / 2) for prompt in range(90)]
    statistic = Strengths(games(*rows), np.arange(90), np.arange(6))
    expected = np.tile(statistic.fitted, (2, 1))
    statistic.fitted = generator.normal(size=6)
    assert statistic(Resample(np.ones((2, 90)))) == pytest.approx(expected, abs=1e-6)


def test_a_pair_has_the_interval_of_its_win_rate_against_the_reference() -> None:
    """Both count the same games over the same resamples; from the other side the bounds change places."""
    rows = [
        (prompt, *pair, float(prompt % 3 > 0)) for prompt in range(12) for pair in [(0, 1), (1, 2), (0, 2)]
    ]
    found = board(*rows, *[(prompt, 2, 3, 1.0) for prompt in range(3)], models=4, reference=1)
    versus = found.against[0]
    assert versus is not None
    assert (found.rates_low[0, 1], found.rates_high[0, 1]) == pytest.approx((versus.low, versus.high))
    assert found.rates_low[1, 0] == pytest.approx(1 - found.rates_high[0, 1])
    assert 0 < found.rates_low[0, 1] < found.rates[0, 1] < found.rates_high[0, 1] < 1
    assert np.isnan([found.rates_low[2, 3], found.rates_low[0, 3], found.rates_high[0, 0]]).all()
