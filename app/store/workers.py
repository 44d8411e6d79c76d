"""Workers: who is there, and who was; by the database's clock."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store import clock
from app.store.models import Worker

PRESENT_SECONDS = 30.0
"""A worker not seen for this long counts as gone."""

FORGOTTEN_SECONDS = 3600.0
"""A worker not seen for this long is taken off the list."""


def beat(
    worker_id: str,
    *,
    session: Session,
    queues: str,
    device: str,
    has_gpu: bool = False,
    trouble: str = "",
) -> None:
    """Record that a worker lives, and why it takes no messages, if so."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        session.add(
            Worker(id=worker_id, queues=queues, device=device, has_gpu=has_gpu, trouble=trouble[:300])
        )
    else:
        worker.seen_at = clock.now()
        worker.trouble = trouble[:300]


def leave(worker_id: str, *, session: Session) -> None:
    """Forget a worker that goes in good order."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def present(*, session: Session, queue: str | None = None) -> Sequence[Worker]:
    """Workers seen lately, of one queue or of any."""
    since = clock.after(-PRESENT_SECONDS)
    found = session.scalars(select(Worker).where(Worker.seen_at >= since).order_by(Worker.id)).all()
    return [worker for worker in found if queue is None or queue in worker.queues.split(",")]


def consuming(*, session: Session, queue: str | None = None) -> Sequence[Worker]:
    """Those of the present workers that take messages."""
    return [worker for worker in present(session=session, queue=queue) if not worker.trouble]


def any_gpu(*, session: Session, queue: str) -> bool:
    """Whether one of the present workers of a queue computes on a GPU."""
    return any(worker.has_gpu for worker in present(session=session, queue=queue))


def forget_silent(*, session: Session) -> None:
    """Drop workers that have been silent for long."""
    session.execute(delete(Worker).where(Worker.seen_at < clock.after(-FORGOTTEN_SECONDS)))
