"""The handlers of the page of pairs under models."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import gradio as gr
import pytest
from sqlalchemy import Engine

from app.settings import Settings
from app.store import datasets, db
from app.store.db import read_session
from app.store.models import Base
from app.ui.pairs import leaving, page
from app.ui.pairs.address import Address
from tests.app.scored import add_pairs, add_run, add_scoring
from tests.app.ui.conftest import request_for


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An empty SQLite database; the tests of the queries also run on PostgreSQL."""
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def at(**query: Any) -> gr.Request:
    return request_for(**query)


def test_the_page_from_nothing_to_scored_pairs(engine: Engine) -> None:
    assert "There is no such dataset" in page.show(at(dataset=9))["header"]
    assert "There is no such dataset" in page.show(at())["header"]
    dataset = add_pairs(10, held_out=0)
    shown = page.show(at(dataset=dataset))
    assert "no trained model yet" in shown["models"]
    assert shown["listing"]["visible"] is False
    run = add_run(dataset)
    assert "No model has scored" in page.show(at(dataset=dataset))["models"]
    assert "Choose a run" in page.act(None, at(dataset=dataset))["said"]
    assert page.act(run, at(dataset=dataset))["said"] == ""
    assert page.choose(run, at(dataset=dataset))["act"]["value"] == "Cancel"
    again = page.look_again((), run, at(dataset=dataset))
    assert "waits for a worker" in again["models"]
    assert "No generate worker" in again["said"]
    assert "models" not in page.look_again(again["seen"], run, at(dataset=dataset))
    page.act(run, at(dataset=dataset))
    assert page.choose(run, at(dataset=dataset))["act"]["value"] == "Continue"

    first = add_scoring(dataset, [-2.0, 1.0, None, -3.0] + [3.0] * 6, name="<b>one</b>")
    second = add_scoring(dataset, [-1.0] * 10, name="two")
    shown = page.show(at(dataset=dataset, scorings=f"{first},{second}", show="mislabelled", pair=0))
    assert "<b>one" not in shown["table"] + shown["models"] + shown["whole"]
    assert "good 3" in shown["table"]
    assert "good 5" not in shown["table"]
    assert "Row 1, training" in shown["whole"]
    assert shown["all"]["value"] == "Leave out all 2 of these"
    (chart,) = shown["chart"]
    assert [sum(trace["y"]) for trace in chart["data"]] == [9, 10]
    unscored = page.show(at(dataset=dataset, scorings=first, show="unscored"))["table"]
    assert "more than 12 tokens" in unscored
    for bad in ({"show": "x"}, {"scorings": "99"}, {"after": "x"}):
        shown = page.show(at(**{"dataset": dataset, "scorings": first} | bad))
        assert shown["listing"]["visible"] is False
        assert "Show all pairs" in shown["said"]
    assert "has no pair 77" in page.show(at(dataset=dataset, pair=77))["whole"]


def test_an_address_says_what_is_shown() -> None:
    address = Address.of(at(dataset=3, scorings="5,7", show="wrong", split="train", q="a b", after="1.0_2"))
    assert address.at() == "pairs?dataset=3&scorings=5%2C7&show=wrong&split=train&q=a+b"
    assert "after=1.0_2" in address.at(after=address.after, pair=0)
    assert address.at(pair=0).endswith("pair=0")


def test_pairs_are_left_out_after_a_question(engine: Engine) -> None:
    dataset = add_pairs(10, held_out=0)
    scoring = add_scoring(dataset, [-2.0, 1.0] * 5)
    here = at(dataset=dataset, scorings=scoring, show="wrong")
    assert leaving.enable("1,2,x,2")["ticked"]["value"] == "Leave out the 2 ticked"
    asked = leaving.ask_ticked("1,2", here)
    assert "without 2 pairs? It keeps the other 8" in asked["question"]
    done = leaving.confirmed("ticked", 2, "1,2", here)
    assert "version 2 has 8 pairs" in done["message"]
    asked = leaving.ask_all(here)
    assert asked["told"] == 5
    assert "By now 5 pairs" in leaving.confirmed("all", 4, "", here)["message"]
    made = leaving.confirmed("all", 5, "", here)["message"]
    assert "launch?dataset=3" in made
    nothing = at(dataset=dataset, scorings=scoring, show="unscored")
    assert "nothing to leave out" in leaving.ask_all(nothing)["message"]
    with read_session() as session:
        assert datasets.count(session=session) == 3


def test_the_rewards_of_a_reward_model_are_drawn(engine: Engine, settings: Settings) -> None:
    dataset = add_pairs(4)
    add_scoring(dataset, [1.0] * 4, name="a judge", method="reward")
    shown = page.show(request_for(dataset=dataset))["chart"]
    assert [figure["key"].partition("-")[0] for figure in shown] == ["margins", "rewards"]
    assert [(bars["name"], sum(bars["y"])) for bars in shown[1]["data"]] == [("Chosen", 4), ("Rejected", 4)]
    assert "a judge" in shown[1]["note"]
    margins, rewards = (unquote(figure["csv"]).splitlines() for figure in shown)
    assert margins[0].startswith("data:text/csv;charset=utf-8,from,to,a judge")
    assert rewards[0].endswith(",from,to,chosen,rejected")
    assert sum(int(row.split(",")[2]) for row in rewards[1:]) == 4
