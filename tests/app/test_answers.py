"""Asking and voting, as the pages, the commands and the API do it."""

import threading

import pytest
from sqlalchemy import Engine

from app import answers
from app.errors import InvalidInput, NotFound
from app.store import conversations, labels
from app.store.db import read_session, write_session
from app.store.enums import Choice, GenerationStatus
from tests.app import arena


def test_waiting_returns_when_the_answers_are_over(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session)
    choices = answers.contenders_of_runs([run.id], with_reference=True)
    comparison = answers.begin(choices, "Why?", user="ada")

    def worker() -> None:
        with write_session() as session:
            arena.answer(
                session, conversations.get_comparison(comparison.id, session=session), ("one", "two")
            )

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
        vote = labels.details(label.id, session=session)
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
    turn = answers.follow_up(comparison.conversation_id, "And?", continues_from=0)
    assert turn.turn == 1
    with pytest.raises(NotFound):
        answers.begin(answers.contenders_of_runs([99], with_reference=False), "Q")
