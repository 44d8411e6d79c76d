"""The states of a run, and all transitions between them.

    queued ──claim──▶ running ──finish───────▶ finished
      │ ▲               │ │ └──fail──────────▶ failed
      │ └─release, reap─┘ └──mark_cancelled──▶ cancelled
      └──────request_cancel──────────────────▶ cancelled

Every write by a worker is guarded by its claim (leases.py). recovery.py handles runs whose worker died. A run
that depends on another one is claimed after that is finished, and fails if it does not finish
(run_dependencies.py).
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from app.errors import Refused
from app.settings import get_settings
from app.store import clock, run_events, runs
from app.store.claims import Claim
from app.store.enums import EventLevel, RunStatus, RunWish
from app.store.leases import CancelLeases
from app.store.models import Run, Worker
from app.store.run_dependencies import STARTABLE, fail_dependants


def _values_of_claim(worker: str) -> Mapping[str, Any]:
    return {
        "status": RunStatus.RUNNING,
        "last_write": 0,
        "device": select(Worker.device).where(Worker.id == worker).scalar_subquery(),
        "started_at": func.coalesce(Run.started_at, clock.now()),
        "timed_from": None,
        "timed_from_step": 0,
        "phase": "starting",
        "error": None,
        "traceback": None,
    }


def _log_claim(run: Run, session: Session) -> None:
    again = f", attempt {run.attempt}" if run.attempt > 1 else ""
    run_events.add(session=session, run_id=run.id, message=f"Started by worker {run.worker}{again}.")


RUN_LEASES = CancelLeases(
    model=Run,
    waiting=STARTABLE,
    held=Run.status == RunStatus.RUNNING,
    deadline=Run.cancel_by,
    on_claim=_values_of_claim,
    free={"lease_id": None, "lease_until": None, "cancel_by": None, "phase": ""},
    log_claim=_log_claim,
)


def read_wish(claim: Claim, *, session: Session) -> RunWish | None:
    """The user's request to the run; None when the lease was lost."""
    return session.scalar(select(Run.wish).where(RUN_LEASES.guard(claim)))


def set_progress(claim: Claim, *, session: Session, step: int, total_steps: int, phase: str) -> bool:
    """Record the run's progress; False when the lease was lost."""
    values: dict[str, Any] = {"step": step, "total_steps": total_steps, "phase": phase[:80]}
    if step > 0:
        values["timed_from_step"] = case((Run.timed_from.is_(None), step), else_=Run.timed_from_step)
        values["timed_from"] = func.coalesce(Run.timed_from, clock.now())
    return RUN_LEASES.write(claim, session=session, **values)


def set_phase(claim: Claim, *, session: Session, phase: str) -> bool:
    """Record the run's current phase; False when the lease was lost."""
    return RUN_LEASES.write(claim, session=session, phase=phase[:80])


def finish(claim: Claim, *, session: Session) -> bool:
    """running -> finished; False when the lease was lost."""
    return _end(claim, RunStatus.FINISHED, "Finished.", session)


def fail(claim: Claim, *, session: Session, error: str, traceback: str | None = None) -> bool:
    """running -> failed, with an error message for users; False when the lease was lost."""
    values = {"error": error, "traceback": traceback}
    return _end(claim, RunStatus.FAILED, error, session, level=EventLevel.ERROR, **values)


def mark_cancelled(claim: Claim, *, session: Session) -> bool:
    """running -> cancelled, once the engine has stopped; False when the lease was lost."""
    return _end(claim, RunStatus.CANCELLED, "Cancelled.", session)


def release(claim: Claim, *, session: Session, reason: str) -> bool:
    """running -> queued, when the worker shuts down. The attempt does not count."""
    done = RUN_LEASES.release(claim, session=session, status=RunStatus.QUEUED)
    if done:
        run_events.add(session=session, run_id=claim.id, message=reason)
    return done


def request_cancel(run_id: int, *, session: Session) -> Run:
    """Cancel a queued run at once; ask the worker of a running one to stop.

    Raises:
        Refused: when the run is already over.
    """
    run = runs.get(run_id, session=session)
    waiting = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.status == RunStatus.QUEUED)
        .values(status=RunStatus.CANCELLED, finished_at=clock.now(), wish=RunWish.CANCEL)
    )
    if waiting.rowcount:  # type: ignore[attr-defined]
        run_events.add(session=session, run_id=run_id, message="Cancelled before it started.")
        fail_dependants(run_id, RunStatus.CANCELLED, session=session)
    else:
        wished = session.execute(
            update(Run)
            .where(Run.id == run_id, RUN_LEASES.held)
            .values(wish=RunWish.CANCEL, cancel_by=clock.after(get_settings().cancel_seconds))
        )
        if not wished.rowcount:  # type: ignore[attr-defined]
            session.refresh(run)
            raise Refused(f"Run {run_id} is {run.status.value} already; there is nothing to cancel.")
        run_events.add(session=session, run_id=run_id, message="Asked to cancel.")
    session.refresh(run)
    return run


def _end(
    claim: Claim,
    status: RunStatus,
    message: str,
    session: Session,
    *,
    level: EventLevel = EventLevel.INFO,
    **values: Any,
) -> bool:
    values |= RUN_LEASES.free
    done = RUN_LEASES.write(claim, session=session, status=status, finished_at=clock.now(), **values)
    if done:
        run_events.add(session=session, run_id=claim.id, message=message, level=level)
        if status is not RunStatus.FINISHED:
            fail_dependants(claim.id, status, session=session)
    return done
