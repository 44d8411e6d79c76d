"""The form of the page Score a text: filled in by its address, and what it says of bad values."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from app.settings import Settings
from app.store import comparisons, db, labels
from app.store.db import read_session, write_session
from app.store.enums import Choice
from app.store.models import Base, ScoredText
from app.ui.score import page
from app.ui.score.address import score_url
from tests.app import arena

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def at(**query: object) -> Any:
    return SimpleNamespace(query_params={k: str(v) for k, v in query.items()}, username="ada")


def test_the_form_is_filled_in_from_an_answer_or_a_conversation(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session, blind=True)
        answer = comparisons.answers(comparison.id, session=session)[1]
        number, talk = answer.id, comparison.conversation_id
        tuned = arena.start(session, [arena.ContenderChoice(base_model="demo")])
    assert score_url(answer=number) == f"score?answer={number}"
    hidden = page.offer(at(answer=number))
    assert "hidden until you vote" in hidden["message"]
    assert "text" not in hidden
    with write_session() as session:
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE)
    filled = page.offer(at(answer=number))
    assert (filled["question"], filled["text"], filled["message"]) == ("What is a tie?", answer.text, "")
    assert filled["contenders"]["value"] == ["reference:demo", "run:1"]
    assert page.offer(at(conversation=talk))["question"] == "What is a tie?"
    assert "question" not in page.offer(at(conversation=tuned.id))
    assert "There is no conversation 99" in page.offer(at(conversation=99))["message"]


def test_a_text_is_queued_at_an_address_of_its_own(engine: Engine) -> None:
    before = {"opening": [{"role": "system", "content": "Be kind."}], "as_text": False}
    assert "text is empty" in page.score(["reference:demo"], before, "Why?", " ", at())
    assert "Choose between 1 and 4" in page.score([], before, "Why?", "So.", at())
    assert "from the list" in page.score(["../x"], before, "Why?", "So.", at())
    queued = page.score(["reference:demo"], before, "Why?", "So. <b>", at())
    assert 'data-next="score?id=1"' in queued
    with read_session() as session:
        stored = session.get_one(ScoredText, 1)
    assert [message["role"] for message in stored.prompt.content] == ["system", "user"]
    again = page.offer(at(id=1))
    assert (again["text"], again["before"]["opening"]) == ("So. <b>", before["opening"])
    assert "So. &lt;b&gt;" in again["recent"]
    assert "You have no scored text 7" in page.offer(at(id=7))["message"]
