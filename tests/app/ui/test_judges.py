"""Automatic judges on a campaign's page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app import campaigns
from app.settings import Settings, get_settings
from app.store import db
from app.store.models import Base
from app.ui.campaigns import judge_actions, one
from app.ui.judging import actions as form_actions
from tests.app import campaign_setup
from tests.app.test_judges import decide
from tests.app.ui.test_campaigns import at, visible
from tests.endpoint_server import write_config


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An empty SQLite database; the tests of the services also run on PostgreSQL."""
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def endpoint(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "GPT", "base_url": "https://x.example/v1", "model": "gpt-large"}
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", entry))
    get_settings.cache_clear()


def five_prompts(user: str = "local") -> None:
    campaign_setup.ready(prompts=[f"{place}?" for place in range(5)], user=user)


def test_without_endpoints_a_scorer_judges(engine: Engine) -> None:
    five_prompts()
    assert {"judges", "judge_new"} <= visible(one.show("", at(campaign=1)))
    opened = form_actions.open_form()
    assert opened["judge_endpoint"]["choices"] == [("A scorer", "")]
    assert "judge_scorer" in visible(opened)
    assert "judge_template" not in visible(opened)
    for spec, sentence in (
        (" ", "Name a scorer"),
        ("regex:x", "cannot judge"),
        ("x", "scorer must be length"),
    ):
        assert sentence in judge_actions.start("", spec, None, None, at(campaign=1))["judge_message"]["value"]
    started = judge_actions.start("", "length", None, None, at(campaign=1))
    assert "length, #1" in started["judged"]
    assert "No generate worker is running" in started["judged"]
    assert "Question to" not in started["judged"]


def test_a_judge_is_started_stopped_and_continued(endpoint: None) -> None:
    five_prompts()
    assert "judge_stop" not in visible(one.show("", at(campaign=1)))
    opened = form_actions.open_form()
    assert opened["judge_endpoint"]["value"] == "GPT"
    assert "judge_template" in visible(opened)
    refused = judge_actions.start("GPT", "", "{question}", 0, at(campaign=1))
    assert "template lacks" in refused["judge_message"]["value"]
    started = judge_actions.start("GPT", "", "", 0, at(campaign=1))
    assert "0 of 5" in started["judged"]
    assert "No endpoints worker is running" in started["judged"]
    assert "People agree" not in started["judged"]
    assert "judge_stop" in visible(started)
    stopped = judge_actions.stop(at(campaign=1))
    assert "5 stopped" in stopped["judged"]
    assert "judge_resume" in visible(stopped)
    assert "0 of 5" in judge_actions.resume(at(campaign=1))["judged"]


def test_only_the_owner_has_the_buttons(endpoint: None) -> None:
    five_prompts(user="ada")
    assert "judges" not in visible(one.show("", at("bob", campaign=1)))
    judge_actions.start("GPT", "", "", 0, at("ada", campaign=1))
    shown = one.show("", at("bob", campaign=1))
    assert visible(shown) & {"judges", "judge_new", "judge_stop"} == {"judges"}
    assert "only its owner" in judge_actions.stop(at("bob", campaign=1))["message"]["value"]


def test_a_judges_board_waits_until_the_names_are_shown(endpoint: None) -> None:
    five_prompts()
    judge_actions.start("GPT", "", "", 0, at(campaign=1))
    decide(1)
    shown = one.show("", at(campaign=1))
    assert (shown["judge_boards"], "5 of 5" in shown["judged"]) == ("", True)
    assert "Nothing is left to judge" in judge_actions.resume(at(campaign=1))["message"]["value"]
    campaigns.show_names(1)
    boards = one.show("", at(campaign=1))["judge_boards"]
    assert "By the judge GPT, #1" in boards
    assert "Reference" in boards
