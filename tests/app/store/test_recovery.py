"""Recovery: runs whose worker died, and messages that got lost."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.store import conversations, recovery, runs
from app.store.db import read_session, write_session
from app.store.enums import EventLevel, RunStatus
from app.store.models import Run, utcnow
from tests.app import arena
from tests.app.store.concurrently import concurrently


def queued(session: Session) -> Run:
    return arena.add_run(session, status=RunStatus.QUEUED, steps=())


def lost(session: Session, *, worker: str = "host:1:train") -> Run:
    run = runs.claim(queued(session).id, session=session, worker=worker, lease_seconds=60)
    assert run is not None
    run.lease_until = utcnow() - timedelta(seconds=1)
    session.flush()
    return run


def test_a_lost_run_is_queued_again_and_its_worker_has_no_say(session: Session) -> None:
    run = lost(session)
    stale = run.lease_id
    assert stale is not None
    assert recovery.reap(session=session, max_attempts=3) == [run.id]
    session.refresh(run)
    assert (run.status, run.attempt, run.lease_id, run.sent_at) == (RunStatus.QUEUED, 1, None, None)
    assert not runs.finish(run.id, stale, session=session)
    last = runs.events(run.id, session=session)[-1]
    assert last.level is EventLevel.WARNING
    assert last.message == "Worker host:1:train fell silent; the run is back in the queue."


def test_a_living_run_is_left_alone(session: Session) -> None:
    run = runs.claim(queued(session).id, session=session, worker="w", lease_seconds=60)
    assert run is not None
    assert recovery.reap(session=session, max_attempts=1) == []
    session.refresh(run)
    assert run.status is RunStatus.RUNNING


def test_after_too_many_deaths_a_run_fails_and_says_so(session: Session) -> None:
    run = lost(session)
    for attempt in (1, 2):
        assert run.attempt == attempt
        assert recovery.reap(session=session, max_attempts=3) == [run.id]
        assert runs.claim(run.id, session=session, worker="host:9:train", lease_seconds=60)
        session.refresh(run)
        run.lease_until = utcnow() - timedelta(seconds=1)
        session.flush()
    assert recovery.reap(session=session, max_attempts=3) == []
    session.refresh(run)
    assert run.status is RunStatus.FAILED
    assert run.finished_at is not None
    assert run.error is not None
    assert run.error.startswith("The worker died 3 times during this run (last on host:9:train)")


def test_the_cancel_wish_of_a_lost_run_is_granted(session: Session) -> None:
    run = lost(session)
    runs.request_cancel(run.id, session=session)
    assert recovery.reap(session=session, max_attempts=3) == []
    session.refresh(run)
    assert run.status is RunStatus.CANCELLED


def test_two_reapers_return_a_run_once(engine: Engine) -> None:
    with write_session() as session:
        run_id = lost(session).id

    def reap(_: int) -> list[int]:
        with write_session() as session:
            return recovery.reap(session=session, max_attempts=3)

    assert sorted(concurrently(reap, times=4)) == [[], [], [], [run_id]]
    with read_session() as session:
        said = [e.message for e in runs.events(run_id, session=session)]
    assert len([message for message in said if "fell silent" in message]) == 1


def test_the_leases_of_one_dead_worker_are_ended(session: Session) -> None:
    mine, _other = (
        runs.claim(queued(session).id, session=session, worker=name, lease_seconds=60) for name in ("a", "b")
    )
    assert mine is not None
    assert sorted(recovery.workers_with_runs(session=session)) == ["a", "b"]
    recovery.expire_leases_of("a", session=session)
    assert recovery.reap(session=session, max_attempts=3) == [mine.id]
    assert list(recovery.workers_with_runs(session=session)) == ["b"]


def test_a_run_never_sent_is_sent(session: Session) -> None:
    run = queued(session)
    for trainers in (0, 1, 2):
        found = recovery.undelivered(session=session, resend_seconds=60, train_workers=trainers)
        assert list(found) == [run.id]


@pytest.mark.parametrize(
    ("seconds_ago", "busy", "again"),
    [(10, False, False), (120, False, True), (120, True, False), (100_000, True, True)],
)
def test_a_message_is_sent_again_when_a_worker_stands_idle(
    session: Session, seconds_ago: int, busy: bool, again: bool
) -> None:
    run = queued(session)
    if busy:
        runs.claim(queued(session).id, session=session, worker="w", lease_seconds=60)
    run.sent_at = utcnow() - timedelta(seconds=seconds_ago)
    session.flush()
    found = recovery.undelivered(session=session, resend_seconds=60, train_workers=1)
    assert list(found) == ([run.id] if again else [])


def test_what_runs_or_is_over_is_not_sent(session: Session) -> None:
    runs.claim(queued(session).id, session=session, worker="w", lease_seconds=60)
    arena.add_run(session, status=RunStatus.FINISHED)
    assert list(recovery.undelivered(session=session, resend_seconds=60, train_workers=5)) == []


def test_a_run_that_was_sent_is_remembered(session: Session) -> None:
    run = queued(session)
    runs.mark_sent(run.id, session=session)
    assert list(recovery.undelivered(session=session, resend_seconds=60, train_workers=1)) == []


def test_answers_handed_on_in_good_order_count_no_attempt(session: Session) -> None:
    comparison = arena.asked(session)
    conversations.regenerate(comparison.id, 0, session=session)
    for _ in range(conversations.MAX_ANSWER_ATTEMPTS + 1):
        held = conversations.claim(comparison.id, session=session, lease_seconds=60)
        assert held is not None
        assert held.attempt == 1
        conversations.release(comparison.id, held.lease_id or "", session=session)
        session.expire_all()
    assert comparison.attempt == 0
