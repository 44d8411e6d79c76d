"""The board: a rating of each model, win rates for each pair, and win rates against the reference."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy.special import expit

from app.evidence.bootstrap import FEWEST_PROMPTS, Statistic, bootstrap, estimate
from app.evidence.bradley_terry import Strengths, largest_component
from app.evidence.games import Floats, Games, Ints, totals
from app.evidence.intervals import robust_error, share_interval, t_interval
from app.evidence.pair_rates import PairRates
from app.evidence.separation import more_votes
from app.evidence.win_rates import Versus, versus_reference


class Missing(StrEnum):
    """Why a rating or its interval is missing."""

    NO_GAMES = "no games"
    NOT_CONNECTED = "not connected"
    FEW_PROMPTS = "few prompts"


@dataclass(frozen=True, slots=True)
class Rating:
    """One model's strength: the natural log of its odds of winning against the average rated model.

    `strength` is None if the model has no games, or if no chain of games connects it to the largest group of
    models. `low` and `high` bound the 95% interval. They are also None if the model's games cover fewer than
    5 prompts.
    """

    strength: float | None
    low: float | None
    high: float | None
    games: int
    missing: Missing | None = None


@dataclass(frozen=True, slots=True)
class WinRate:
    """One model against the reference, ties and both bad counted half.

    The controlled rate is the rate at equal length of the answers. It is None if the lengths are unknown or
    all differences are equal. Bounds are those of 95% intervals, and None with fewer than 5 prompts.
    """

    rate: float
    low: float | None
    high: float | None
    games: int
    controlled: float | None
    controlled_low: float | None
    controlled_high: float | None


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that follows from the games. Models are indices."""

    ratings: list[Rating]
    rates: Floats
    """Share of games won by the row's model against the column's, ties half; NaN where they never met."""
    rates_low: Floats
    rates_high: Floats
    """Bounds of the rates' 95% intervals; NaN where the two met on fewer than 5 prompts."""
    counts: Ints
    """Number of games, shape [models, models], symmetric."""
    against: list[WinRate | None]
    """Each model against the reference; None for the reference itself and for models that never met it."""
    reference: int | None
    more_votes: Floats
    """Estimated further votes between two models that separate them; 0 where separated, NaN where unknown."""


def make_board(
    games: Games, models: int, *, reference: int | None, replicates: int = 1000, seed: int = 0
) -> Board:
    """Rate models from votes. The same arguments give the same board.

    Args:
        models: number of models; the games' indices are below it.
        reference: index of the model that win rates are measured against.
        replicates: number of bootstrap resamples of the prompts, at least 2.

    Raises:
        ValueError: a model's index is not below `models`.
    """
    if len(games) == 0:
        return _empty(models, reference)
    if max(games.first.max(), games.second.max()) >= models:
        raise ValueError("a game names a model that is not on the board")
    counts, wins = totals(games, models)
    rates = np.where(counts > 0, wins / np.maximum(counts, 1), np.nan)
    rated = largest_component(counts)
    prompts, prompt = np.unique(games.prompt, return_inverse=True)
    strengths = Strengths(games, prompt, rated)
    versus = {} if reference is None else versus_reference(games, prompt, models, reference)
    pair_rates = PairRates(games, prompt, models)
    statistics: list[Statistic] = [strengths, pair_rates, *versus.values()]
    samples = bootstrap(statistics, len(prompts), replicates=replicates, seed=seed)
    fitted = estimate(strengths, len(prompts))
    against: list[WinRate | None] = [None] * models
    for (model, statistic), drawn in zip(versus.items(), samples[2:], strict=True):
        against[model] = _win_rate(statistic, estimate(statistic, len(prompts)), drawn)
    separation = np.full((models, models), np.nan)
    if len(prompts) >= FEWEST_PROMPTS:
        among = np.ix_(rated, rated)
        separation[among] = more_votes(counts[among], fitted, samples[0], len(prompts))
    ratings = _ratings(games, counts, wins, rated, fitted, samples[0])
    return Board(
        ratings, rates, *pair_rates.bounds(rates, samples[1]), counts, against, reference, separation
    )


def _empty(models: int, reference: int | None) -> Board:
    unknown = np.full((models, models), np.nan)
    unrated = Rating(None, None, None, 0, Missing.NO_GAMES)
    counts = np.zeros((models, models), dtype=np.int64)
    none: list[WinRate | None] = [None] * models
    return Board([unrated] * models, unknown, unknown, unknown, counts, none, reference, unknown)


def _ratings(
    games: Games, counts: Ints, wins: Floats, rated: Ints, fitted: Floats, samples: Floats
) -> list[Rating]:
    ratings = []
    place = {model: index for index, model in enumerate(rated.tolist())}
    for model, played in enumerate(counts.sum(axis=1).tolist()):
        at = place.get(model)
        if at is None:
            missing = Missing.NOT_CONNECTED if played else Missing.NO_GAMES
            ratings.append(Rating(None, None, None, played, missing))
            continue
        prompts = len(np.unique(games.prompt[(games.first == model) | (games.second == model)]))
        strength = float(fitted[at])
        error = _error(samples[:, at], decided=wins[model].sum() in (0, played))
        low, high = t_interval(strength, error, prompts) or (None, None)
        few = Missing.FEW_PROMPTS if low is None else None
        ratings.append(Rating(strength, low, high, played, few))
    return ratings


def _error(samples: Floats, *, decided: bool) -> float:
    """Standard error of a strength.

    Args:
        decided: whether the model won or lost all its games. Its replicates differ only in the outcomes of
            the added ties, and those far out show how strong or weak it may be.
    """
    return float(samples.std(ddof=1)) if decided else robust_error(samples)


def _win_rate(statistic: Versus, fitted: Floats, samples: Floats) -> WinRate:
    """From the rate and, where lengths vary, theta."""
    share = float(fitted[0])
    low, high = share_interval(share, samples[:, 0], statistic.prompts) or (None, None)
    rate = WinRate(share, low, high, statistic.games, None, None, None)
    if statistic.controlled is None:
        return rate
    theta = float(fitted[1])
    bounds = t_interval(theta, float(samples[:, 1].std(ddof=1)), statistic.controlled.prompts)
    controlled_low, controlled_high = (None, None) if bounds is None else expit(bounds).tolist()
    return replace(
        rate,
        controlled=float(expit(theta)),
        controlled_low=controlled_low,
        controlled_high=controlled_high,
    )
