"""Count how often the intervals of simulated boards contain the limit of many votes."""

import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context

import numpy as np

from app.evidence import Board, make_board
from benchmarks.coverage.world import World

LIMIT_PROMPTS = 200_000
"""Prompts whose votes stand for infinitely many: the error of the limit is below 2% of a board's own."""

LIMIT_SEED = 2**32

Interval = tuple[str, float, float | None, float | None]
"""Quantity, estimate, low and high."""


@dataclass(slots=True)
class Coverage:
    """The intervals of one quantity over all models and simulations."""

    simulations: int
    hits: int = 0
    intervals: int = 0
    missing: int = 0
    widths: float = 0.0

    @property
    def share(self) -> float:
        return self.hits / self.intervals

    @property
    def error(self) -> float:
        """Binomial standard error. Intervals of one simulation share votes, so they count as one trial."""
        return math.sqrt(self.share * (1 - self.share) / self.simulations)

    @property
    def width(self) -> float:
        return self.widths / self.intervals


@dataclass(slots=True)
class Outcome:
    """Coverage by quantity, and the mean number of games of a simulation."""

    simulations: int
    coverage: dict[str, Coverage] = field(default_factory=dict)
    games: float = 0.0

    def add(self, board: Board, limit: Board, width: float) -> None:
        """Count a board's intervals. Each is scaled by `width` about the estimate."""
        self.games += board.counts.sum() / 2 / self.simulations
        for (quantity, estimate, low, high), (_, truth, _, _) in zip(
            intervals(board), intervals(limit), strict=True
        ):
            found = self.coverage.setdefault(quantity, Coverage(self.simulations))
            if low is None or high is None:
                found.missing += 1
                continue
            low, high = estimate + width * (low - estimate), estimate + width * (high - estimate)
            found.hits += low <= truth <= high
            found.intervals += 1
            found.widths += high - low


def simulate(
    world: World,
    *,
    simulations: int,
    replicates: int,
    width: float = 1.0,
    first_seed: int = 0,
    processes: int = 1,
) -> Outcome:
    """Draw votes, make boards and count. The outcome depends on the arguments alone, not on `processes`.

    Args:
        width: factor on each interval; a factor below 1 shows what too narrow intervals would look like.
        first_seed: seed of the first simulation; each one has the next seed.
    """
    limit = limit_board(world)
    outcome = Outcome(simulations)
    seeds = range(first_seed, first_seed + simulations)
    for board in _boards(world, seeds, replicates, processes):
        outcome.add(board, limit, width)
    return outcome


def limit_board(world: World) -> Board:
    """The board that the estimates approach with more and more votes of the same kind.

    Its values differ from the planted strengths: ties, side bias and differences between prompts make
    outcomes more even than the strengths alone, and length bias favours models with longer answers. The
    intervals cannot and need not contain the planted values.
    """
    many = replace(world, prompts=LIMIT_PROMPTS).draw(np.random.default_rng(LIMIT_SEED))
    return make_board(many, world.models, reference=world.reference, replicates=2)


def _boards(world: World, seeds: range, replicates: int, processes: int) -> Iterator[Board]:
    board = partial(simulated_board, world, replicates)
    if processes == 1:
        yield from map(board, seeds)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(board, seeds, chunksize=10)


def simulated_board(world: World, replicates: int, seed: int) -> Board:
    games = world.draw(np.random.default_rng(seed))
    return make_board(games, world.models, reference=world.reference, replicates=replicates, seed=seed)


def intervals(board: Board) -> Iterator[Interval]:
    """Every interval of a board, in a fixed order; an unknown estimate is NaN."""
    for rating in board.ratings:
        yield "strength", _known(rating.strength), rating.low, rating.high
    for model, rate in enumerate(board.against):
        if model == board.reference:
            continue
        if rate is None:
            yield "win rate", math.nan, None, None
            yield "length-controlled win rate", math.nan, None, None
            continue
        yield "win rate", rate.rate, rate.low, rate.high
        controlled = _known(rate.controlled)
        yield "length-controlled win rate", controlled, rate.controlled_low, rate.controlled_high


def _known(value: float | None) -> float:
    return math.nan if value is None else value
