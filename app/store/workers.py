"""Workers and their heartbeats, by the database's clock."""

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.store import clock
from app.store.models import Worker

PRESENT_SECONDS = 30.0
"""A worker not seen for this long counts as gone."""

FORGOTTEN_SECONDS = 3600.0
"""A worker not seen for this long is removed from the list."""


def beat(
    worker_id: str,
    *,
    session: Session,
    queues: str,
    device: str,
    has_gpu: bool = False,
    trouble: str = "",
    loading: str = "",
) -> None:
    """Record a worker's heartbeat, why it consumes no messages, if so, and the base model that it loads."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        session.add(
            Worker(
                id=worker_id,
                queues=queues,
                device=device,
                has_gpu=has_gpu,
                trouble=trouble[:300],
                loading=loading[:500],
            )
        )
    else:
        worker.seen_at = clock.now()
        worker.trouble = trouble[:300]
        worker.loading = loading[:500]


def say_loading(worker_id: str, model: str, *, session: Session) -> None:
    """Record the base model that a worker starts to load; an empty name once it is loaded."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(loading=model[:500]))


def leave(worker_id: str, *, session: Session) -> None:
    """Remove a worker that shuts down cleanly."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def present(*, session: Session, queue: str | None = None) -> Sequence[Worker]:
    """Workers with a recent heartbeat, of one queue or of any."""
    since = clock.after(-PRESENT_SECONDS)
    found = session.scalars(select(Worker).where(Worker.seen_at >= since).order_by(Worker.id)).all()
    return [worker for worker in found if queue is None or queue in worker.queues.split(",")]


def consuming(*, session: Session, queue: str | None = None) -> Sequence[Worker]:
    """The present workers that consume messages."""
    return [worker for worker in present(session=session, queue=queue) if not worker.trouble]


def any_gpu(*, session: Session, queue: str) -> bool:
    """Whether a present worker of a queue uses a GPU."""
    return any(worker.has_gpu for worker in present(session=session, queue=queue))


def forget_silent(*, session: Session) -> None:
    """Delete workers not seen for FORGOTTEN_SECONDS."""
    session.execute(delete(Worker).where(Worker.seen_at < clock.after(-FORGOTTEN_SECONDS)))
