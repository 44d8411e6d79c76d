"""Runs that wait for another run: the claim, the queue, and what happens when the other one ends."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import recovery, removal, run_dependencies, run_events, run_lists, run_transitions, runs
from app.store.claims import Claim
from app.store.db import write_session
from app.store.enums import RunStatus
from app.store.models import Run, utcnow
from app.store.run_transitions import RUN_LEASES
from app.views import run_view
from tests.app import arena
from tests.app.store.concurrently import concurrently


def queued(session: Session, method: str = "rloo", *, after: Run | None = None) -> Run:
    run = arena.add_run(session, "dpo", status=RunStatus.QUEUED, steps=())
    run.method = method
    run.depends_on_id = None if after is None else after.id
    session.flush()
    return run


def claim_next(session: Session) -> Run | None:
    return RUN_LEASES.claim_next(session=session, worker="w", lease_seconds=60)


def test_a_run_is_claimed_only_after_the_one_that_it_waits_for_is_finished(session: Session) -> None:
    reward = queued(session, "reward")
    waiting, other = queued(session, after=reward), queued(session, "dpo")
    assert not RUN_LEASES.claim(waiting.id, session=session, worker="w", lease_seconds=60)
    claimed = claim_next(session)
    assert claimed is not None
    assert claimed.id == reward.id
    assert [run.id for run in (claim_next(session),) if run] == [other.id]  # queued later, waits for none
    assert claim_next(session) is None
    assert run_dependencies.startable_after(reward.id, session=session) == []
    assert run_transitions.finish(Claim.of(claimed), session=session)
    assert run_dependencies.startable_after(reward.id, session=session) == [waiting.id]
    following = claim_next(session)
    assert following is not None
    assert following.id == waiting.id
    assert claim_next(session) is None


def test_two_workers_and_a_finish_start_a_waiting_run_once(engine: Engine) -> None:
    with write_session() as session:
        reward = queued(session, "reward")
        waiting = queued(session, after=reward).id
        claim = Claim.of(claim_next(session) or reward)

    def act(number: int) -> int | None:
        with write_session() as session:
            if number == 0:
                run_transitions.finish(claim, session=session)
                return None
            claimed = claim_next(session)
            return None if claimed is None else claimed.id

    found = [*concurrently(act, times=3), act(3)]
    assert found.count(waiting) == 1


def test_the_queue_says_what_a_run_waits_for(session: Session) -> None:
    reward = queued(session, "reward")
    waiting, other = queued(session, after=reward), queued(session, "dpo")
    found = [reward, waiting, other]
    assert run_lists.places_in_queue(found, session=session) == {reward.id: 1, other.id: 2}
    assert [runs.place_in_queue(run, session=session) for run in found] == [1, None, 2]
    assert {key: run.id for key, run in run_dependencies.awaited(found, session=session).items()} == {
        waiting.id: reward.id
    }
    assert [run_view(run, session=session)["waits_for"] for run in found] == [None, reward.id, None]
    assert run_lists.queued_first(session=session, limit=3) == found
    reward.status = RunStatus.FINISHED
    session.flush()
    assert run_dependencies.awaited(found, session=session) == {}
    assert runs.place_in_queue(waiting, session=session) == 1


def test_no_message_is_sent_for_a_run_that_waits(session: Session) -> None:
    reward = queued(session, "reward")
    waiting = queued(session, after=reward)
    assert RUN_LEASES.take_undelivered(session=session, resend_seconds=60) == [reward.id]
    assert not RUN_LEASES.is_undelivered(session=session, resend_seconds=60)
    reward.status = RunStatus.FINISHED
    session.flush()
    assert RUN_LEASES.take_undelivered(session=session, resend_seconds=60) == [waiting.id]


def fail(reward: Run, session: Session) -> None:
    run_transitions.fail(Claim.of(claim_next(session) or reward), session=session, error="Out of memory.")


def cancel(reward: Run, session: Session) -> None:
    run_transitions.request_cancel(reward.id, session=session)


def stop(reward: Run, session: Session) -> None:
    claimed = claim_next(session) or reward
    run_transitions.request_cancel(reward.id, session=session)
    run_transitions.mark_cancelled(Claim.of(claimed), session=session)


def die(reward: Run, session: Session) -> None:
    claimed = claim_next(session) or reward
    claimed.lease_until = utcnow() - timedelta(seconds=1)
    session.flush()
    recovery.reap(RUN_LEASES.all_held(session=session), session=session, max_attempts=1)


def delete(reward: Run, session: Session) -> None:
    reward.status = RunStatus.FINISHED
    session.flush()
    removal.remove(reward.id, session=session)


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (fail, "failed; resume run {0}, then resume this one."),
        (cancel, "was cancelled; resume run {0}, then resume this one."),
        (stop, "was cancelled; resume run {0}, then resume this one."),
        (die, "failed; resume run {0}, then resume this one."),
        (delete, "was deleted; launch it again with another reward."),
    ],
)
def test_a_run_fails_with_the_one_that_it_waits_for(
    session: Session, ending: Callable[[Run, Session], None], why: str
) -> None:
    reward = queued(session, "reward")
    first = queued(session, after=reward)
    second, other = queued(session, after=first), queued(session)
    ending(reward, session)
    session.expire_all()
    assert first.status is second.status is RunStatus.FAILED
    assert other.status is RunStatus.QUEUED
    assert first.error == f"Run {reward.id}, which this run waited for, {why.format(reward.id)}"
    assert second.error is not None
    assert second.error.startswith(f"Run {first.id}, which this run waited for, failed; ")
    assert first.finished_at is not None
    assert run_events.of_run(first.id, session=session)[-1].message == first.error


def test_a_run_that_goes_back_to_the_queue_keeps_those_that_wait(session: Session) -> None:
    reward = queued(session, "reward")
    waiting = queued(session, after=reward)
    run_transitions.release(Claim.of(claim_next(session) or reward), session=session, reason="Later.")
    die(reward, session)  # of one attempt, so it fails; resumed, both wait as before
    session.expire_all()
    assert waiting.status is RunStatus.FAILED
    with pytest.raises(Refused, match=f"waits for run {reward.id}, which failed; resume it first"):
        recovery.resume(waiting.id, session=session)
    recovery.resume(reward.id, session=session)
    assert recovery.resume(waiting.id, session=session).status is RunStatus.QUEUED
    assert runs.place_in_queue(waiting, session=session) is None


def test_the_sweep_fails_runs_that_were_launched_as_the_other_one_ended(session: Session) -> None:
    reward, deleted = queued(session, "reward"), queued(session, "reward")
    assert run_dependencies.stranded(session=session) == []
    one, other = queued(session, after=reward), queued(session, after=deleted)
    assert run_dependencies.stranded(session=session) == []
    reward.status, deleted.status, deleted.deleted_at = RunStatus.CANCELLED, RunStatus.FINISHED, utcnow()
    session.flush()
    found = run_dependencies.stranded(session=session)
    assert sorted(found) == [(reward.id, "cancelled"), (deleted.id, "deleted")]
    for run_id, ending in found:
        run_dependencies.fail_dependants(run_id, ending, session=session)
    session.expire_all()
    assert one.status is other.status is RunStatus.FAILED
    assert run_dependencies.stranded(session=session) == []


def test_a_waiting_run_can_be_cancelled(session: Session) -> None:
    reward = queued(session, "reward")
    waiting = queued(session, after=reward)
    assert run_transitions.request_cancel(waiting.id, session=session).status is RunStatus.CANCELLED
    assert reward.status is RunStatus.QUEUED
