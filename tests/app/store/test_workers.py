"""Workers: present, gone and silent ones, and the health check based on them."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.presence import worker_missing
from app.settings import get_settings
from app.store import workers
from app.store.db import read_session, write_session
from app.store.models import Worker, utcnow
from worker import health


def silent_for(session: Session, worker_id: str, seconds: float) -> None:
    worker = session.get(Worker, worker_id)
    assert worker is not None
    worker.seen_at = utcnow() - timedelta(seconds=seconds)
    session.flush()


def names(session: Session, queue: str | None = None) -> list[str]:
    return [worker.id for worker in workers.present(session=session, queue=queue)]


def test_a_worker_is_present_while_it_beats(session: Session) -> None:
    workers.beat("b", session=session, queues="generate", device="CPU")
    workers.beat("a", session=session, queues="train,generate", device="CPU")
    session.flush()
    assert names(session) == ["a", "b"]
    assert names(session, "train") == ["a"]
    assert names(session, "generate") == ["a", "b"]
    assert names(session, "rain") == []
    silent_for(session, "a", workers.PRESENT_SECONDS + 1)
    assert names(session) == ["b"]
    workers.beat("a", session=session, queues="train,generate", device="CPU")
    session.flush()
    assert names(session) == ["a", "b"]


def test_a_worker_that_leaves_is_forgotten_at_once(session: Session) -> None:
    workers.beat("a", session=session, queues="train", device="CPU")
    session.flush()
    workers.leave("a", session=session)
    workers.leave("nobody", session=session)
    assert names(session) == []


def test_long_silence_is_forgotten_and_short_silence_is_not(session: Session) -> None:
    for name in ("short", "long"):
        workers.beat(name, session=session, queues="train", device="CPU")
    session.flush()
    silent_for(session, "short", workers.PRESENT_SECONDS + 1)
    silent_for(session, "long", workers.FORGOTTEN_SECONDS + 1)
    workers.forget_silent(session=session)
    session.expire_all()
    assert session.get(Worker, "short") is not None
    assert session.get(Worker, "long") is None


def here(name: str) -> bool:
    return name.startswith("here:")


def beat(name: str, trouble: str = "") -> None:
    with write_session() as session:
        workers.beat(name, session=session, queues="train", device="CPU", trouble=trouble)


def test_a_machine_is_healthy_while_one_of_its_workers_takes_messages(engine: Engine) -> None:
    assert health.problem(here) == "No worker of this machine was seen in the last 30 seconds."
    beat("elsewhere:1:train")
    assert health.problem(here) is not None
    beat("here:1:train")
    assert health.problem(here) is None
    beat("here:1:train", trouble="It cannot reach the broker.")
    assert health.problem(here) == "here:1:train: It cannot reach the broker."
    beat("here:2:train")
    assert health.problem(here) is None


def test_a_worker_that_lives_and_takes_no_message_counts_as_missing(engine: Engine) -> None:
    assert str(worker_missing("train")).startswith("No train worker is running on ")
    beat("deaf", trouble="It cannot reach the broker.")
    assert worker_missing("train") == "The train worker deaf does not take work. It cannot reach the broker."
    with read_session() as session:
        assert [worker.id for worker in workers.present(session=session)] == ["deaf"]
        assert workers.consuming(session=session) == []
    beat("deaf")
    assert worker_missing("train") is None


def test_without_a_database_a_machine_is_not_healthy(
    settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPO_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    assert str(health.problem(here)).startswith("The database did not answer: ")
