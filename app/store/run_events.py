"""The log of a run, one line per event."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.enums import EventLevel
from app.store.models import RunEvent


def add(*, session: Session, run_id: int, message: str, level: EventLevel = EventLevel.INFO) -> None:
    session.add(RunEvent(run_id=run_id, level=level, message=message))


def of_run(run_id: int, *, session: Session, limit: int = 500) -> Sequence[RunEvent]:
    """The newest lines of a run's log, oldest first."""
    newest = select(RunEvent).where(RunEvent.run_id == run_id).order_by(RunEvent.id.desc()).limit(limit)
    return list(reversed(session.scalars(newest).all()))


def last_id(run_ids: Sequence[int], *, session: Session) -> int:
    """The id of the newest line in the logs of several runs; 0 if there is none."""
    return session.scalar(select(func.max(RunEvent.id)).where(RunEvent.run_id.in_(run_ids))) or 0
