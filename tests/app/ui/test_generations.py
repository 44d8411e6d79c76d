"""The handlers of the page of generations, and of a run's slider, called without a browser."""

import re
from typing import Any

import gradio as gr
import pytest
from sqlalchemy import Engine

from app.store import comparisons, run_checkpoints, runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.ui.generations import page
from app.ui.generations.address import Asked
from app.ui.run import probe
from tests.app.rest.test_generations import stored
from tests.app.store.test_generation_search import blind_chat
from tests.app.ui.conftest import request_for

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def found(**query: Any) -> str:
    return str(page.open_page(request_for(**query))["found"])


def ids(html: str) -> list[str]:
    return re.findall('data-generation="([0-9]+)"', html)


def test_states_of_the_list(engine: Engine) -> None:
    assert "Nothing was generated yet" in found()
    assert "Nothing was generated yet" not in found(text="x")
    run_id = stored()
    assert ids(found()) == ids(found(run=run_id, kind="probe", steps="0-")) == ["3", "2", "1"]
    assert ids(found(sort="log_ratio-up", steps="-5")) == ["1", "2"]
    assert "<mark>text</mark> 5" in found(text="TEXT", steps="5")
    assert "No text matches" in found(text="zyzzyva")
    assert "no letter" in found(text="🙂")
    assert "Steps are a number" in found(steps="x")
    assert "Cursor must be" in found(after="x")
    assert ids(found(kind="x", sort="x", run="x,y", campaign="x")) == ["3", "2", "1"]


def test_fields_ask_for_the_same_as_the_address(engine: Engine) -> None:
    fields = ("a b", "#3", [1, 2], "probe", "2-5", "tokens-up", "")
    asked = Asked.of_fields(*fields)
    assert Asked.of_address(request_for(**asked.query())) == asked
    assert asked.only().prompt_id == 3
    assert "No text matches" in str(page.search(*fields)["found"])


def test_one_text_with_the_others_of_its_prompt(engine: Engine) -> None:
    run_id = stored()
    shown = found(id=2, text="text")
    assert ids(shown) == ["2", "3", "1"]
    assert "Through training" in shown
    assert f"run?id={run_id}&amp;prompt=1&amp;at=2" in shown, "the second evaluation"
    assert f"run?id={run_id}&amp;prompt=1&amp;at=1" in found(id=1)
    assert "No such text" in found(id=99)
    assert "No such text" in found(id="x")


def test_the_samples_of_a_step_lead_to_its_checkpoint(engine: Engine) -> None:
    run_id = stored()
    with read_session() as session:
        [checkpoint] = run_checkpoints.of_run(run_id, session=session)
    assert f"compare?checkpoints={checkpoint.id}" in found(run=run_id, steps="10")
    assert "step 5 was not kept" in found(run=run_id, steps="5")
    for other in ("0", "5-10"):
        assert "checkpoint" not in found(run=run_id, steps=other)
    with write_session() as session:
        runs.get(run_id, session=session).status = RunStatus.CANCELLED  # Compare does not offer it
    assert "checkpoint" not in found(run=run_id, steps="10")


def test_a_hidden_text_stands_alone(engine: Engine) -> None:
    with write_session() as session:
        comparison = blind_chat(session, user="local")
        answers = comparisons.answers(comparison.id, session=session)
    shown = found(id=answers[1].id)
    assert "hidden until you vote" in shown
    assert ids(shown) == []
    for told in ("dpo run", "Reference", "Tokens", "Log-ratio", "answer?id"):
        assert told not in shown
    with pytest.raises(gr.Error, match="hidden"):
        page.compare(",".join(str(one.id) for one in answers))


def test_compare_opens_the_conversation(engine: Engine) -> None:
    stored()
    assert page.enable("1,2")["interactive"]
    assert not page.enable("1")["interactive"]
    assert 'data-next="compare?conversation=1"' in page.compare("1,2")
    with pytest.raises(gr.Error, match="two answers"):
        page.compare("1")


def test_the_slider_walks_through_the_evaluations(engine: Engine) -> None:
    run_id = stored()
    shown = probe.open_page(request_for(id=run_id))
    assert (shown["place"]["value"], shown["place"]["maximum"]) == (3, 3)
    assert "tabs" not in shown
    opened = probe.open_page(request_for(id=run_id, prompt=1, at=2, against="start"))
    assert "Step 5 · 2 of 3 · 1 word changed since before training" in opened["changed"]
    assert "tabs" in opened
    moved = probe.move(1, "previous", 3, request_for(id=run_id))
    assert "since step 5" in moved["changed"]
    assert "<del>" in moved["changed"]
    first = probe.move(1, "previous", -7, request_for(id=run_id))
    assert "Before training · 1 of 3" in first["changed"]
    assert "data-next" in probe.compare(1, "previous", 3, request_for(id=run_id))
    assert "data-next" not in probe.compare(1, "previous", 1, request_for(id=run_id))
    with read_session() as session:
        assert comparisons.count(session=session) == 1


def test_a_run_without_probes_has_no_slider(engine: Engine) -> None:
    assert not probe.open_page(request_for(id=99))["section"]["visible"]
    assert probe.move(99, "previous", 1, request_for(id=99)) == {}
