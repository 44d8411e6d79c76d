"""Recovery: what becomes of runs whose worker died, and of messages that got lost.

Any process may be killed at any time; the keeper of every worker calls these functions every few seconds.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from app.store import runs
from app.store.enums import EventLevel, RunStatus, RunWish
from app.store.models import Run, utcnow
from app.store.runs import NO_LEASE


def reap(*, session: Session, max_attempts: int) -> list[int]:
    """Return runs whose worker fell silent to the queue, or fail them after too many attempts.

    Returns:
        The ids that are queued again.
    """
    now = utcnow()
    lost = session.scalars(
        select(Run).where(Run.status == RunStatus.RUNNING, Run.lease_until < now).with_for_update(of=Run)
    ).all()
    queued = []
    for run in lost:
        guard = (Run.id == run.id, Run.lease_id == run.lease_id, Run.lease_until < now)
        if run.wish is RunWish.CANCEL:
            _reap_one(guard, session, status=RunStatus.CANCELLED, finished_at=now)
            runs.add_event(session=session, run_id=run.id, message="Cancelled; its worker was gone.")
        elif run.attempt >= max_attempts:
            error = (
                f"The worker died {run.attempt} times during this run (last on {run.worker}); it may need "
                "more memory: lower the batch size or the lengths, then clone and launch it again."
            )
            _reap_one(guard, session, status=RunStatus.FAILED, finished_at=now, error=error)
            runs.add_event(session=session, run_id=run.id, level=EventLevel.ERROR, message=error)
        else:
            _reap_one(guard, session, status=RunStatus.QUEUED, sent_at=None)
            message = f"Worker {run.worker} fell silent; the run is back in the queue."
            runs.add_event(session=session, run_id=run.id, level=EventLevel.WARNING, message=message)
            queued.append(run.id)
    return queued


def workers_with_runs(*, session: Session) -> Sequence[str]:
    """Names of workers that hold a running run."""
    held = select(Run.worker).where(Run.status == RunStatus.RUNNING, Run.worker.is_not(None)).distinct()
    return [name for name in session.scalars(held) if name is not None]


def expire_leases_of(worker: str, *, session: Session) -> None:
    """End the leases of a worker known to be dead; the reaper does the rest."""
    session.execute(
        update(Run)
        .where(Run.status == RunStatus.RUNNING, Run.worker == worker)
        .values(lease_until=utcnow() - timedelta(seconds=1))
    )


def undelivered(*, session: Session, resend_seconds: float, train_workers: int) -> Sequence[int]:
    """Ids of queued runs whose message was never sent, or sent long ago while a worker stood idle.

    While all of the `train_workers` are busy a run waits for its turn, and its message with it.
    """
    busy = session.scalar(select(func.count()).where(Run.status == RunStatus.RUNNING)) or 0
    stale = utcnow() - timedelta(seconds=resend_seconds if busy < train_workers else 86_400)
    return session.scalars(
        select(Run.id)
        .where(Run.status == RunStatus.QUEUED, or_(Run.sent_at.is_(None), Run.sent_at < stale))
        .order_by(Run.id)
    ).all()


def _reap_one(guard: Sequence[ColumnElement[bool]], session: Session, **values: Any) -> None:
    session.execute(update(Run).where(*guard).values(phase="", **NO_LEASE, **values))
