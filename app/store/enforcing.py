"""Cancels that are not heeded: what a worker should have let go of, and what is written once it is ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.store import answering, clock, runs
from app.store.enums import EventLevel, GenerationStatus, RunStatus, RunWish
from app.store.generations import unfinished
from app.store.models import Comparison, Generation, Run

HEEDED_SECONDS = 600.0
"""How long work that has heeded its cancel may take to let go: a last checkpoint is written and stored."""


@dataclass(frozen=True, slots=True)
class Unheeded:
    """Runs and comparisons, with their leases, whose cancel is overdue."""

    runs: Sequence[tuple[int, str]]
    comparisons: Sequence[tuple[int, str]]

    def __bool__(self) -> bool:
        return bool(self.runs or self.comparisons)


def unheeded(worker: str, *, session: Session) -> Unheeded:
    """What a worker holds although it should have let go of it by now."""
    late_runs = session.execute(
        select(Run.id, Run.lease_id).where(
            Run.status == RunStatus.RUNNING,
            Run.worker == worker,
            Run.wish == RunWish.CANCEL,
            Run.cancel_by < clock.now(),
        )
    )
    late = session.execute(
        select(Comparison.id, Comparison.lease_id).where(
            answering.is_held(), Comparison.worker == worker, Comparison.stop_by < clock.now()
        )
    )
    return Unheeded([(i, str(lease)) for i, lease in late_runs], [(i, str(lease)) for i, lease in late])


def heed_cancel(run_id: int, lease_id: str, *, session: Session) -> None:
    """The process knows of the wish to cancel, and is about to let go."""
    session.execute(
        update(Run)
        .where(Run.id == run_id, Run.lease_id == lease_id, Run.cancel_by.is_not(None))
        .values(cancel_by=clock.after(HEEDED_SECONDS))
    )


def heed_stop(comparison_id: int, lease_id: str, *, session: Session) -> None:
    """The process knows which answers shall stop, and is about to end them."""
    session.execute(
        update(Comparison)
        .where(
            Comparison.id == comparison_id, Comparison.lease_id == lease_id, Comparison.stop_by.is_not(None)
        )
        .values(stop_by=clock.after(HEEDED_SECONDS))
    )


def enforce(what: Unheeded, *, session: Session) -> None:
    """running -> cancelled, and stopped, for the process that held it was ended."""
    for run_id, lease_id in what.runs:
        if runs.cancelled(run_id, lease_id, session=session):
            message = "The process did not let go by itself and was ended; the last checkpoint stays."
            runs.add_event(session=session, run_id=run_id, message=message, level=EventLevel.WARNING)
    for comparison_id, lease_id in what.comparisons:
        session.execute(
            update(Generation)
            .where(Generation.comparison_id == comparison_id, unfinished(), Generation.stop_wished)
            .values(status=GenerationStatus.STOPPED)
            .execution_options(synchronize_session=False)
        )
        session.execute(
            update(Comparison)
            .where(Comparison.id == comparison_id, Comparison.lease_id == lease_id)
            .values(sent_at=None, **answering.NO_LEASE)
            .execution_options(synchronize_session=False)
        )
