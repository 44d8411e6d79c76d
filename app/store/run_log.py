"""A run's log, paginated for API clients. The UI reads its newest lines with `run_events.of_run`."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import RunEvent


def page(run_id: int, *, session: Session, limit: int, before: int | None = None) -> Sequence[RunEvent]:
    """Lines of a run's log, newest first. With `before`, only those with a smaller id (keyset pagination)."""
    query = select(RunEvent).where(RunEvent.run_id == run_id)
    if before is not None:
        query = query.where(RunEvent.id < before)
    return session.scalars(query.order_by(RunEvent.id.desc()).limit(limit)).all()
