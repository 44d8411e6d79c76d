"""Asking and voting, as used by the pages, the commands and the API."""

import threading
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from app import answers
from app.errors import InvalidInput, NotFound
from app.store import comparisons, label_queries, names
from app.store.db import read_session, write_session
from app.store.enums import Choice, GenerationStatus
from app.views import answers_view
from tests.app import arena


def test_waiting_returns_when_the_answers_are_over(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session)
    choices = answers.contenders_of_runs([run.id], with_reference=True)
    comparison = answers.begin(choices, "Why?", user="ada")

    def worker() -> None:
        with write_session() as session:
            arena.answer(session, comparisons.get(comparison.id, session=session), ("one", "two"))

    assert not answers.wait(comparison.id, seconds=0).over
    thread = threading.Timer(0.3, worker)
    thread.start()
    found = answers.wait(comparison.id, seconds=30)
    thread.join()
    assert found.over
    assert [answer.text for answer in found.answers] == ["one", "two"]


def test_each_base_model_brings_its_reference(engine: Engine) -> None:
    with write_session() as session:
        ids = [arena.add_run(session, base_model=base).id for base in ("demo", "other", "demo")]
    choices = answers.contenders_of_runs(ids, with_reference=True)
    assert [choice.base_model for choice in choices] == ["demo", "other", None, None, None]


@pytest.mark.parametrize("word", ["", "E", "AB", "best"])
def test_a_vote_in_unknown_words_is_refused(engine: Engine, word: str) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
    with pytest.raises(InvalidInput, match="choice must be one of"):
        answers.vote(comparison.id, word, user="ada")


def test_a_vote_of_three_in_words(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session, ("one", "two", "three"))
    label = answers.vote(comparison.id, "c", worst="a", user="ada")
    with read_session() as session:
        vote = label_queries.details(label.id, session=session)
    assert vote.label.choice is Choice.BEST
    assert vote.worst is not None
    assert vote.worst.letter == "A"


def test_follow_up_and_regenerate_queue_answers(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
    fresh = answers.regenerate(comparison.id, 1)
    assert fresh.status is GenerationStatus.QUEUED
    answers.stop(comparison.id, 0)
    assert not answers.look(comparison.id).over
    answers.stop(comparison.id, 1)
    assert answers.look(comparison.id).over
    with pytest.raises(InvalidInput, match="continues_from must be one of"):
        answers.follow_up(comparison.conversation_id, "And?", continues_from="E")
    turn = answers.follow_up(comparison.conversation_id, "And?", continues_from="a")
    assert turn.turn == 1
    with pytest.raises(NotFound):
        answers.begin(answers.contenders_of_runs([99], with_reference=False), "Q")


def test_what_is_shown_of_a_blind_comparison(engine: Engine) -> None:
    """Every reader gets names, and data that reveals them, only after voting or on request."""
    telling = ("name", "method", "run_id", "seconds", "policy_logp", "reference_logp")
    with write_session() as session:
        comparison = arena.asked(session, blind=True)
        comparisons.answers(comparison.id, session=session)[0].error = "runs/1/10 has no adapter"
    for user in ("ada", "bob"):
        view = answers_view(answers.look(comparison.id, user=user))
        assert view["names_hidden"] is True
        assert [answer[name] for answer in view["answers"] for name in telling] == [None] * 12
        assert "runs/1" not in str(view)
    answers.vote(comparison.id, "A", user="ada")
    shown = answers_view(answers.look(comparison.id, user="ada"))
    assert {answer["name"] for answer in shown["answers"]} == {"Reference", "dpo run"}
    assert "runs/1" in str(shown)
    assert answers.look(comparison.id, user="bob").hidden
    answers.show_names(comparison.id, user="bob")
    assert not answers.look(comparison.id, user="bob").hidden
    assert not answers.vote(comparison.id, "B", user="bob").blind


def test_looking_at_an_open_comparison_is_recorded(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
    assert not answers.look(comparison.id, user="ada").hidden
    with read_session() as session:
        assert names.seen_among([comparison.id], "ada", session=session) == {comparison.id}
        assert names.seen_among([comparison.id], "bob", session=session) == set()


def test_a_page_is_shown_when_nothing_can_be_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk; names are shown without a record only if they were not hidden."""
    with write_session() as session:
        open_to_all, blind = arena.asked(session), arena.asked(session, blind=True)
    event.listen(engine, "before_cursor_execute", _refuse_writes)
    try:
        assert not answers.look(open_to_all.id, user="ada").hidden
        assert answers.look(blind.id, user="ada").hidden
        with pytest.raises(OperationalError):
            answers.show_names(blind.id, user="ada")
    finally:
        event.remove(engine, "before_cursor_execute", _refuse_writes)
    assert "could not be recorded" in caplog.text
    assert answers.look(blind.id, user="ada").hidden


def _refuse_writes(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    if statement.lstrip().startswith("INSERT"):
        raise OperationalError(statement, {}, Exception("database or disk is full"))


def test_blind_is_the_default(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session)
    comparison = answers.begin(answers.contenders_of_runs([run.id], with_reference=True), "Why?")
    assert comparison.conversation.blind
    assert answers.look(comparison.id).hidden
