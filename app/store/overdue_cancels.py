"""Overdue cancels: work that a worker did not stop in time, and its state after the worker is killed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.store import run_events, run_transitions
from app.store.answering import ANSWER_LEASES
from app.store.claims import Claim
from app.store.enums import EventLevel, GenerationStatus
from app.store.generations import unfinished
from app.store.models import Generation
from app.store.run_transitions import RUN_LEASES


@dataclass(frozen=True, slots=True)
class OverdueCancels:
    """Claims on runs and on comparisons whose cancel is overdue."""

    runs: Sequence[Claim]
    comparisons: Sequence[Claim]

    def __bool__(self) -> bool:
        return bool(self.runs or self.comparisons)


def of_worker(worker: str, *, session: Session) -> OverdueCancels:
    """Claims that a worker still holds after their cancel deadline."""
    return OverdueCancels(
        RUN_LEASES.overdue_cancels(worker, session=session),
        ANSWER_LEASES.overdue_cancels(worker, session=session),
    )


def enforce(overdue: OverdueCancels, *, session: Session) -> None:
    """running -> cancelled for runs, and -> stopped for answers, after their worker was killed."""
    for claim in overdue.runs:
        if run_transitions.mark_cancelled(claim, session=session):
            message = "The process did not stop by itself and was killed; the last checkpoint is kept."
            run_events.add(session=session, run_id=claim.id, message=message, level=EventLevel.WARNING)
    for claim in overdue.comparisons:
        session.execute(
            update(Generation)
            .where(Generation.comparison_id == claim.id, unfinished(), Generation.stop_wished)
            .values(status=GenerationStatus.STOPPED)
            .execution_options(synchronize_session=False)
        )
        ANSWER_LEASES.write(claim, session=session, sent_at=None, **ANSWER_LEASES.free)
