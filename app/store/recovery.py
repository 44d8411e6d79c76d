"""Recovery: what becomes of runs whose worker died, of messages that got lost, and of runs that failed.

Any process may be killed at any time; the keeper of every worker calls these functions every few seconds.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import clock, runs
from app.store.enums import EventLevel, RunStatus, RunWish
from app.store.models import Run
from app.store.runs import NO_LEASE


def held(*, session: Session) -> dict[str, tuple[str | None, datetime]]:
    """The leases of runs: their holders and their ends."""
    query = select(Run.lease_id, Run.worker, Run.lease_until).where(
        Run.status == RunStatus.RUNNING, Run.lease_until.is_not(None)
    )
    return {lease: (worker, until) for lease, worker, until in session.execute(query) if lease}  # type: ignore[misc]


def expire(leases: Collection[str], *, session: Session) -> None:
    """End the leases of workers known to be dead; the reaper does the rest."""
    session.execute(
        update(Run)
        .where(Run.status == RunStatus.RUNNING, Run.lease_id.in_(leases))
        .values(lease_until=clock.after(-1))
    )


def reap(leases: Collection[str], *, session: Session, max_attempts: int) -> list[int]:
    """Return runs whose worker fell silent to the queue, or fail them after too many attempts.

    Args:
        leases: those that the caller has seen unrenewed; of them, those that are over are reaped.

    Returns:
        The ids that are queued again.
    """
    lost = session.scalars(
        select(Run)
        .where(Run.status == RunStatus.RUNNING, Run.lease_id.in_(leases), Run.lease_until < clock.now())
        .with_for_update(of=Run, skip_locked=True)
    ).all()
    queued = []
    for run in lost:
        guard = (Run.id == run.id, Run.lease_id == run.lease_id, Run.lease_until < clock.now())
        if run.wish is RunWish.CANCEL:
            _reap_one(guard, session, status=RunStatus.CANCELLED, finished_at=clock.now())
            runs.add_event(session=session, run_id=run.id, message="Cancelled; its worker was gone.")
        elif run.attempt >= max_attempts:
            error = (
                f"The worker died {run.attempt} times during this run (last on {run.worker}); it may need "
                "more memory: lower the batch size or the lengths, then clone and launch it again."
            )
            _reap_one(guard, session, status=RunStatus.FAILED, finished_at=clock.now(), error=error)
            runs.add_event(session=session, run_id=run.id, level=EventLevel.ERROR, message=error)
        else:
            _reap_one(guard, session, status=RunStatus.QUEUED, sent_at=None)
            message = f"Worker {run.worker} fell silent; the run is back in the queue."
            runs.add_event(session=session, run_id=run.id, level=EventLevel.WARNING, message=message)
            queued.append(run.id)
    return queued


def resume(run_id: int, *, session: Session) -> Run:
    """failed or cancelled -> queued, to go on from the last checkpoint; the attempts are counted anew.

    Raises:
        NotFound: for a run that does not exist.
        Refused: for a run that is waiting, running or finished.
    """
    run = runs.get(run_id, session=session)
    resumed = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.status.in_([RunStatus.FAILED, RunStatus.CANCELLED]))
        .values(
            status=RunStatus.QUEUED,
            wish=RunWish.NONE,
            attempt=0,
            sent_at=None,
            finished_at=None,
            error=None,
            traceback=None,
            phase="",
            **NO_LEASE,
        )
    )
    if not resumed.rowcount:  # type: ignore[attr-defined]
        session.refresh(run)
        raise Refused(f"Run {run_id} is {run.status.value}; only a failed or cancelled run can be resumed.")
    last = runs.last_checkpoint(run_id, session=session)
    whence = f"goes on from step {last.step}" if last else "has no checkpoint and begins anew"
    runs.add_event(session=session, run_id=run_id, message=f"Resumed; it {whence}.")
    session.refresh(run)
    return run


def take_undelivered(
    *, session: Session, resend_seconds: float, train_workers: int, limit: int = 50
) -> Sequence[int]:
    """Mark queued runs as sent whose message was never sent, or sent long ago while a worker stood idle.

    While all of the `train_workers` are busy a run waits for its turn, and its message with it. A worker
    looks again until nothing waits, so a few messages wake as many workers as there are.

    Returns:
        Their ids, for the caller to send after the commit; `unsend` is for those that could not be sent.
    """
    waiting = _undelivered(session, resend_seconds, train_workers)
    found = session.scalars(
        select(Run.id).where(*waiting).order_by(Run.id).limit(limit).with_for_update(skip_locked=True)
    ).all()
    if found:
        session.execute(update(Run).where(Run.id.in_(found)).values(sent_at=clock.now()))
    return found


def is_undelivered(*, session: Session, resend_seconds: float, train_workers: int) -> bool:
    """Whether there is anything for `take_undelivered`, found out without a lock."""
    waiting = _undelivered(session, resend_seconds, train_workers)
    return session.scalar(select(Run.id).where(*waiting).limit(1)) is not None


def _undelivered(session: Session, resend_seconds: float, train_workers: int) -> list[ColumnElement[bool]]:
    busy = session.scalar(select(func.count()).where(Run.status == RunStatus.RUNNING)) or 0
    stale = clock.after(-(resend_seconds if busy < train_workers else 86_400))
    return [Run.status == RunStatus.QUEUED, or_(Run.sent_at.is_(None), Run.sent_at < stale)]


def unsend(run_ids: Sequence[int], *, session: Session) -> None:
    """The broker did not take these after all."""
    session.execute(update(Run).where(Run.id.in_(run_ids)).values(sent_at=None))


def _reap_one(guard: Sequence[ColumnElement[bool]], session: Session, **values: Any) -> None:
    session.execute(update(Run).where(*guard).values(phase="", **NO_LEASE, **values))
