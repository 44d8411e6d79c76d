"""Recovery: runs of dead workers, and lost messages."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import answering, comparisons, recovery, run_events, run_transitions, runs
from app.store.answering import ANSWER_LEASES
from app.store.claims import Claim
from app.store.db import read_session, write_session
from app.store.enums import EventLevel, RunStatus, RunWish
from app.store.models import Run, utcnow
from app.store.run_transitions import RUN_LEASES
from tests.app import arena
from tests.app.store.concurrently import concurrently


def queued(session: Session) -> Run:
    return arena.add_run(session, status=RunStatus.QUEUED, steps=())


def lost(session: Session, *, worker: str = "host:1:train") -> Run:
    run = RUN_LEASES.claim(queued(session).id, session=session, worker=worker, lease_seconds=60)
    assert run is not None
    run.lease_until = utcnow() - timedelta(seconds=1)
    session.flush()
    return run


def reap(session: Session, *, max_attempts: int = 3) -> list[int]:
    """Act as a keeper that has seen no lease renewed."""
    return recovery.reap(RUN_LEASES.all_held(session=session), session=session, max_attempts=max_attempts)


def undelivered(session: Session, *, train_workers: int) -> list[int]:
    """The messages a keeper resends after a minute, marked as sent."""
    seconds = recovery.resend_after(session=session, resend_seconds=60, train_workers=train_workers)
    waits = RUN_LEASES.is_undelivered(session=session, resend_seconds=seconds)
    found = list(RUN_LEASES.take_undelivered(session=session, resend_seconds=seconds))
    assert waits == bool(found)
    return found


def test_a_lost_run_is_queued_again_and_its_worker_has_no_say(session: Session) -> None:
    run = lost(session)
    stale = Claim.of(run)
    assert reap(session) == [run.id]
    session.refresh(run)
    assert (run.status, run.attempt, run.lease_id, run.sent_at) == (RunStatus.QUEUED, 1, None, None)
    assert not run_transitions.finish(stale, session=session)
    last = run_events.of_run(run.id, session=session)[-1]
    assert last.level is EventLevel.WARNING
    assert last.message == "Worker host:1:train stopped responding; the run is back in the queue."


def test_a_living_run_is_left_alone(session: Session) -> None:
    run = RUN_LEASES.claim(queued(session).id, session=session, worker="w", lease_seconds=60)
    assert run is not None
    assert reap(session, max_attempts=1) == []
    session.refresh(run)
    assert run.status is RunStatus.RUNNING


def test_after_too_many_deaths_a_run_fails_and_says_so(session: Session) -> None:
    run = lost(session)
    for attempt in (1, 2):
        assert run.attempt == attempt
        assert reap(session) == [run.id]
        assert RUN_LEASES.claim(run.id, session=session, worker="host:9:train", lease_seconds=60)
        session.refresh(run)
        run.lease_until = utcnow() - timedelta(seconds=1)
        session.flush()
    assert reap(session) == []
    session.refresh(run)
    assert run.status is RunStatus.FAILED
    assert run.finished_at is not None
    assert run.error is not None
    assert run.error.startswith("The worker died 3 times during this run (last on host:9:train)")


def test_the_cancel_wish_of_a_lost_run_is_granted(session: Session) -> None:
    run = lost(session)
    run_transitions.request_cancel(run.id, session=session)
    assert reap(session) == []
    session.refresh(run)
    assert run.status is RunStatus.CANCELLED


def test_two_reapers_return_a_run_once(engine: Engine) -> None:
    with write_session() as session:
        run_id = lost(session).id

    def keeper(_: int) -> list[int]:
        with write_session() as session:
            return reap(session)

    assert sorted(concurrently(keeper, times=4)) == [[], [], [], [run_id]]
    with read_session() as session:
        said = [e.message for e in run_events.of_run(run_id, session=session)]
    assert len([message for message in said if "stopped responding" in message]) == 1


def test_the_lease_of_a_dead_worker_is_ended(session: Session) -> None:
    mine, other = (
        RUN_LEASES.claim(queued(session).id, session=session, worker=name, lease_seconds=60)
        for name in ("a", "b")
    )
    assert mine is not None
    assert other is not None
    held = RUN_LEASES.all_held(session=session)
    assert {lease: worker for lease, (worker, _) in held.items()} == {mine.lease_id: "a", other.lease_id: "b"}
    assert reap(session) == []
    RUN_LEASES.expire([str(mine.lease_id)], session=session)
    assert reap(session) == [mine.id]
    assert list(RUN_LEASES.all_held(session=session)) == [other.lease_id]


def test_a_run_never_sent_is_sent(session: Session) -> None:
    run = queued(session)
    for trainers in (0, 1, 2):
        found = undelivered(session, train_workers=trainers)
        assert list(found) == [run.id]
        assert not undelivered(session, train_workers=trainers)
        RUN_LEASES.unsend(found, session=session)


@pytest.mark.parametrize(
    ("seconds_ago", "busy", "again"),
    [(10, False, False), (120, False, True), (120, True, False), (100_000, True, True)],
)
def test_a_message_is_sent_again_when_a_worker_stands_idle(
    session: Session, seconds_ago: int, busy: bool, again: bool
) -> None:
    run = queued(session)
    if busy:
        RUN_LEASES.claim(queued(session).id, session=session, worker="w", lease_seconds=60)
    run.sent_at = utcnow() - timedelta(seconds=seconds_ago)
    session.flush()
    found = undelivered(session, train_workers=1)
    assert list(found) == ([run.id] if again else [])


def test_what_runs_or_is_over_is_not_sent(session: Session) -> None:
    RUN_LEASES.claim(queued(session).id, session=session, worker="w", lease_seconds=60)
    arena.add_run(session, status=RunStatus.FINISHED)
    assert list(undelivered(session, train_workers=5)) == []


def test_a_run_that_was_sent_is_remembered(session: Session) -> None:
    run = queued(session)
    RUN_LEASES.mark_sent(run.id, session=session)
    assert list(undelivered(session, train_workers=1)) == []


def test_answers_handed_on_in_good_order_count_no_attempt(session: Session) -> None:
    comparison = arena.asked(session)
    comparisons.regenerate(comparison.id, 0, session=session)
    for _ in range(answering.MAX_ANSWER_ATTEMPTS + 1):
        held = ANSWER_LEASES.claim(comparison.id, session=session, worker="w", lease_seconds=60)
        assert held is not None
        assert held.attempt == 1
        ANSWER_LEASES.release(Claim.of(held), session=session)
        session.expire_all()
    assert comparison.attempt == 0


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_run_that_is_over_but_not_finished_is_resumed(session: Session, status: RunStatus) -> None:
    run = arena.add_run(session, status=status, steps=(5, 10))
    run.attempt, run.error, run.traceback, run.wish = 3, "The store was away.", "Traceback", RunWish.CANCEL
    run.sent_at = run.finished_at = run.created_at
    session.flush()
    resumed = recovery.resume(run.id, session=session)
    assert (resumed.status, resumed.wish, resumed.attempt, resumed.step) == (
        RunStatus.QUEUED,
        RunWish.NONE,
        0,
        10,
    )
    assert (resumed.error, resumed.traceback, resumed.finished_at, resumed.sent_at) == (None,) * 4
    assert run_events.of_run(run.id, session=session)[-1].message == "Resumed; it continues from step 10."
    claimed = RUN_LEASES.claim_next(session=session, worker="w", lease_seconds=60)
    assert claimed is not None
    assert (claimed.id, claimed.attempt) == (run.id, 1)


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.FINISHED])
def test_no_other_run_is_resumed(session: Session, status: RunStatus) -> None:
    run = arena.add_run(session, status=status)
    with pytest.raises(Refused, match=f"is {status.value}"):
        recovery.resume(run.id, session=session)
    with pytest.raises(NotFound):
        recovery.resume(4711, session=session)
    session.refresh(run)
    assert run.status is status


def test_claimers_share_what_waits_and_none_leaves_while_a_row_does(engine: Engine) -> None:
    """Eight workers receive 160 messages; each polls until the queue is empty."""
    with write_session() as session:
        ids = [queued(session).id for _ in range(160)]

    def work(number: int) -> list[int]:
        taken: list[int] = []
        while True:
            with write_session() as session:
                run = RUN_LEASES.claim_next(session=session, worker=f"w{number}", lease_seconds=60)
            if run is None:
                with read_session() as session:
                    waiting = runs.find(session=session, status=RunStatus.QUEUED)
                left[number] = [run.id for run in waiting]
                return taken
            taken.append(run.id)

    left: dict[int, list[int]] = {}
    taken = concurrently(work, times=8)
    assert sorted(run_id for found in taken for run_id in found) == ids
    for found in taken:
        assert found == sorted(found), "what waits longest comes first"
    if engine.dialect.name == "postgresql":
        assert max(map(len, left.values())) <= 7, "what a worker left was being claimed by the seven others"
    else:
        assert left == {number: [] for number in range(8)}
