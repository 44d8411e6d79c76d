"""The ranking on the results page: handlers, called as functions, and HTML."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from app.board import Model
from app.board_csv import BoardTable
from app.evidence import Games, make_board
from app.ranking import Ranking
from app.settings import Settings
from app.store import db, labels
from app.store.db import write_session
from app.store.enums import Choice
from app.store.models import Base
from app.ui.looks import colour, look_of, style_of
from app.ui.results import overview, ranking, ranking_files, ranking_view
from app.ui.results.ranking_files import RankingFiles
from tests.app import arena


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An empty SQLite database; the tests of the service also run on PostgreSQL."""
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def at(user: str = "ada") -> Any:
    return SimpleNamespace(query_params={}, username=user)


def found_among(models: int, *, prompts: int = 40, reference: int | None = 0, apart: bool = False) -> Ranking:
    """A ranking of models in rising order; with `apart`, the last two met only each other."""
    pairs = [(one, other) for other in range(models) for one in range(other)]
    if apart:
        pairs = [(one, other) for one, other in pairs if (one >= models - 2) == (other >= models - 2)]
    first, second = (np.array(column * prompts) for column in zip(*pairs, strict=True))
    prompt = np.repeat(np.arange(prompts), len(pairs))
    score = (np.random.default_rng(3).random(len(first)) < 0.3).astype(float)
    games = Games(prompt, first, second, score, np.where(prompt % 2, 5.0, -5.0))
    board = make_board(games, models, reference=reference, replicates=100)
    shown = [Model("base", "reference", "demo", None, None)]
    shown += [Model(f"<b>run</b> {n}", ("dpo", "hypo")[n % 2], "demo", n, 10) for n in range(1, models)]
    return Ranking(range(1, models + 1), shown, board, len(first), prompts, 0)


def test_the_page_shows_the_ranking_of_its_votes(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1)
    shown = overview.overview(at())
    assert "1 decision between two answers to 1 prompt" in shown["ranking"]
    assert "No intervals yet" in shown["ranking"]
    choices = shown["reference"]["choices"]
    assert [name for name, _ in choices] == ["dpo run", "Reference"]
    assert shown["reference"]["value"] == choices[1][1]
    assert "100%" in shown["against"]
    other = ranking.show(choices[0][1], at())
    assert other["reference"]["value"] == choices[0][1]
    assert "0%" in other["against"]


def test_hidden_votes_show_no_ranking(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session, blind=True)
        labels.vote(comparison.id, session=session, user="bob", choice=Choice.BEST, best=1)
    shown = ranking.show(None, at())
    assert "whose names are still hidden from you" in shown["ranking"]
    assert shown["reference"]["visible"] is False
    with write_session() as session:
        labels.withdraw(1, session=session, user="bob")
    assert "compare no two models" in ranking.show(None, at())["ranking"]


def test_each_part_says_what_it_does_not_show() -> None:
    found = found_among(4)
    html = ranking_view.ranking(found)
    for part in ("strengths", "separation", "matrix"):
        assert ranking_view.CAVEATS[part].split(";")[0].replace("'", "&#39;") in html
    assert ranking_view.CAVEATS["against"] in ranking_view.against(found)
    assert all("not show" in sentence for sentence in ranking_view.CAVEATS.values())
    assert "<b>run</b>" not in html
    assert html.count('<th scope="row">') == 8
    assert "interval" in html
    assert "never met" not in html
    assert "<details" not in html


def test_models_that_met_no_others_are_named_with_the_reason() -> None:
    found = found_among(5, apart=True)
    html = ranking_view.ranking(found)
    assert "Not ranked: &lt;b&gt;run&lt;/b&gt; 3, &lt;b&gt;run&lt;/b&gt; 4. No votes connect them" in html
    assert html.count("never met") == 2 * 2 * 3 * 2
    assert "Never met it: &lt;b&gt;run&lt;/b&gt; 3" in ranking_view.against(found)


def test_many_models_fold_the_matrix() -> None:
    html = ranking_view.ranking(found_among(20, prompts=10))
    assert html.count("<details") == html.count("</details>") == 2


def test_without_a_reference_the_page_asks_for_one() -> None:
    assert "Choose a model" in ranking_view.against(found_among(3, reference=None))


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([-0.3, 0.4], -0.5, 0.5),
        ([0.2, 1.9], 0, 2),
        ([-7.5, 3], -8, 4),
        ([0.0], 0, 0.25),
        ([-40, 40], -40, 40),
    ],
)
def test_the_axis_covers_all_values_and_zero(values: list[float], low: float, high: float) -> None:
    axis = ranking_view._Axis.of(values)
    assert (axis.low, axis.high) == (low, high)
    assert len(axis.view["ticks"]) <= 12


def test_the_tables_are_linked_as_shown() -> None:
    found = found_among(4, reference=2)
    files = RankingFiles(found, "campaign", 7, about="<i>soups", aspect="helpful", adjudicated=True)
    html = ranking_view.ranking(found, files) + ranking_view.against(found, files)
    for table in ("ranking", "matrix", "against"):
        query = f"table={table}&amp;reference=3&amp;aspect=helpful&amp;adjudicated=true"
        assert f'href="api/v1/campaigns/7/board.csv?{query}"' in html
        assert f'download="campaign-7-{table}.csv"' in html
    assert html.count("data-picture=") == 1
    assert "<i>soups" not in html
    judged = RankingFiles(found, "judge", 3).of(BoardTable.RANKING)
    assert 'href="api/v1/judges/3/board.csv?table=ranking"' in judged
    assert 'download="judge-3-ranking.csv"' in judged
    assert "board.csv" not in ranking_view.ranking(found) + ranking_view.against(found)


def test_the_picture_has_every_strength_with_its_interval() -> None:
    found = found_among(5)
    drawn = ranking_files.figure(found, "Ranking", "board")
    points = {
        place: (x, x - less, x + more)
        for trace in drawn["data"]
        for place, x, less, more in zip(
            trace["y"], trace["x"], trace["error_x"]["arrayminus"], trace["error_x"]["array"], strict=True
        )
    }
    for place, at in enumerate(reversed(found.order)):
        rating = found.board.ratings[at]
        assert points[place] == pytest.approx((rating.strength, rating.low, rating.high))
    assert drawn["layout"]["yaxis"]["ticktext"][-1].startswith("1 · ")


def test_a_run_has_its_own_colour_on_the_board() -> None:
    found = found_among(4)
    runs = [model for model in found.models if model.run_id is not None]
    assert len({look_of(model.run_id or 0) for model in runs}) == len(runs) > 1
    html = ranking_view.ranking(found)
    for model in runs:
        assert html.count(f'{style_of(model.method, model.run_id)}"') >= 2, "the badge and the bar"
    drawn = ranking_files.figure(found, "Ranking", "board")
    tints = {trace["marker"]["color"] for trace in drawn["data"]}
    assert tints >= {colour(model.method, look_of(model.run_id or 0)) for model in runs}
    assert sum(trace["showlegend"] for trace in drawn["data"]) == len({t["name"] for t in drawn["data"]})
