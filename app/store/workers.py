"""Workers: who is there, and who was."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store.models import Worker, utcnow

PRESENT_SECONDS = 30.0
"""A worker not seen for this long counts as gone."""


def beat(worker_id: str, *, session: Session, queues: str, device: str) -> None:
    """Record that a worker lives."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        session.add(Worker(id=worker_id, queues=queues, device=device))
    else:
        worker.seen_at = utcnow()


def leave(worker_id: str, *, session: Session) -> None:
    """Forget a worker that goes in good order."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def present(*, session: Session, queue: str | None = None) -> Sequence[Worker]:
    """Workers seen lately, of one queue or of any."""
    since = utcnow() - timedelta(seconds=PRESENT_SECONDS)
    found = session.scalars(select(Worker).where(Worker.seen_at >= since).order_by(Worker.id)).all()
    return [worker for worker in found if queue is None or queue in worker.queues.split(",")]


def forget_silent(*, session: Session) -> None:
    """Drop workers that have been silent for ten times the time after which they count as gone."""
    before = utcnow() - timedelta(seconds=10 * PRESENT_SECONDS)
    session.execute(delete(Worker).where(Worker.seen_at < before))
