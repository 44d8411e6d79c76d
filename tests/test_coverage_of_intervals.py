"""The simulation of intervals at a small scale: the board's intervals pass, narrower ones fail."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage.__main__ import main
from benchmarks.coverage.count import Outcome, limit_board, simulate, simulated_board
from benchmarks.coverage.world import World

SMALL = World(prompts=40)
SIMULATIONS = 150


@pytest.fixture(scope="module")
def outcomes() -> dict[float, Outcome]:
    """Coverage by the factor on the intervals' width, over the same boards."""
    limit = limit_board(SMALL)
    found = {width: Outcome(SIMULATIONS) for width in (0.5, 1.0)}
    for seed in range(SIMULATIONS):
        board = simulated_board(SMALL, 200, seed)
        for width, outcome in found.items():
            outcome.add(board, limit, width)
    return found


@pytest.mark.parametrize("quantity", ["strength", "win rate", "length-controlled win rate"])
def test_95_percent_intervals_contain_the_limit_about_95_times_in_100(
    outcomes: dict[float, Outcome], quantity: str
) -> None:
    assert 0.92 <= outcomes[1.0].coverage[quantity].share <= 0.98
    assert outcomes[0.5].coverage[quantity].share < 0.85


def test_votes_of_a_world_have_its_properties() -> None:
    world = World(prompts=20_000)
    games = world.draw(np.random.default_rng(1))
    votes = np.bincount(games.prompt)
    assert votes.mean() == pytest.approx(1 + world.further_votes, rel=0.05)
    assert votes.min() == 1
    assert votes.max() > 20
    assert 0.1 < np.mean(games.score == 0.5) < 0.2
    longer = games.score[games.length > 0].mean()
    assert longer > 0.55


def test_a_vote_on_four_answers_decides_the_games_of_the_best_and_the_worst() -> None:
    """Of six pairs of answers, only the pair of the two in the middle has no game; a tie has six."""
    world = World(prompts=200, further_votes=1e-9, contenders=4)
    games = world.draw(np.random.default_rng(1))
    ties = len(np.unique(games.prompt[games.score == 0.5]))
    assert len(games) == 5 * world.prompts + ties
    wins = np.zeros((world.prompts, 4))
    decided = games.score != 0.5
    np.add.at(wins, (games.prompt, games.first), games.score * decided)
    np.add.at(wins, (games.prompt, games.second), (1 - games.score) * decided)
    assert {tuple(sorted(row)) for row in wins.tolist()} == {(0, 0, 0, 0), (0, 1, 1, 3)}


def test_without_ties_biases_and_differences_of_prompts_the_limit_is_the_planted_strength() -> None:
    plain = replace(
        SMALL, prompt_effect=0.0, side_bias=(0.0,), length_bias=(0.0,), tie_threshold=0.0, further_votes=2.0
    )
    centred = np.array(plain.strengths) - np.mean(plain.strengths)
    found = [rating.strength for rating in limit_board(plain).ratings]
    assert found == pytest.approx(centred, abs=0.02)


def test_the_outcome_does_not_depend_on_the_number_of_processes() -> None:
    world = World(prompts=10)
    one, two = (simulate(world, simulations=4, replicates=20, processes=count) for count in (1, 2))
    assert one == two


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--prompts", "10", "--simulations", "3", "--replicates", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[2] for line in lines[2:]] == [
        "strength",
        "win rate",
        "length-controlled win rate",
    ]
