"""Recovery of runs whose worker died, whose message was lost, or that failed or were cancelled.

Any process may be killed at any time, so a thread in every worker reaps and resends every few seconds.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import clock, run_checkpoints, run_dependencies, run_events, runs
from app.store.enums import EventLevel, RunStatus, RunWish
from app.store.models import Run
from app.store.run_transitions import RUN_LEASES

BUSY_RESEND_SECONDS = 86_400.0
"""Age at which a run's message is resent while all train workers are busy."""


def reap(leases: Collection[str], *, session: Session, max_attempts: int) -> list[int]:
    """Requeue runs whose worker died, or fail them after too many attempts.

    Args:
        leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.

    Returns:
        The ids of the requeued runs.
    """
    queued: list[int] = []
    ended: list[tuple[int, RunStatus]] = []

    def after(run: Run) -> Mapping[str, Any]:
        values, message, level = _outcome(run, max_attempts)
        run_events.add(session=session, run_id=run.id, level=level, message=message)
        if values["status"] is RunStatus.QUEUED:
            queued.append(run.id)
        else:
            ended.append((run.id, values["status"]))
        return values

    RUN_LEASES.reap(leases, session=session, after=after)
    for run_id, status in ended:
        run_dependencies.fail_dependants(run_id, status, session=session)
    return queued


def _outcome(run: Run, max_attempts: int) -> tuple[dict[str, Any], str, EventLevel]:
    """The outcome of a lost run: new column values, a line for its log, and the line's level."""
    if run.wish is RunWish.CANCEL:
        values = {"status": RunStatus.CANCELLED, "finished_at": clock.now()}
        return values, "Cancelled; its worker was gone.", EventLevel.INFO
    if run.attempt >= max_attempts:
        error = (
            f"The worker died {run.attempt} times during this run (last on {run.worker}); it may need "
            "more memory: lower the batch size or the lengths, then clone and launch it again."
        )
        values = {"status": RunStatus.FAILED, "finished_at": clock.now(), "error": error}
        return values, error, EventLevel.ERROR
    message = f"Worker {run.worker} stopped responding; the run is back in the queue."
    return {"status": RunStatus.QUEUED, "sent_at": None}, message, EventLevel.WARNING


def resume(run_id: int, *, session: Session) -> Run:
    """failed or cancelled -> queued, to resume from the last checkpoint. The attempt count restarts at 0.

    Raises:
        NotFound: for a run that does not exist.
        Refused: for a run that is waiting, running or finished, and for one that depends on a failed or
            cancelled run.
    """
    run = runs.get(run_id, session=session)
    run_dependencies.refuse_without_awaited(run, session=session)
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
            **RUN_LEASES.free,
        )
    )
    if not resumed.rowcount:  # type: ignore[attr-defined]
        session.refresh(run)
        raise Refused(f"Run {run_id} is {run.status.value}; only a failed or cancelled run can be resumed.")
    last = run_checkpoints.last(run_id, session=session)
    start = f"continues from step {last.step}" if last else "has no checkpoint and starts over"
    run_events.add(session=session, run_id=run_id, message=f"Resumed; it {start}.")
    session.refresh(run)
    return run


def resend_after(*, session: Session, resend_seconds: float, train_workers: int) -> float:
    """Seconds after which the message of a queued run is resent.

    While all `train_workers` are busy, a run waits for its turn, and its message need not be resent. A worker
    claims runs until none are waiting, so a few messages are enough for all workers.
    """
    busy = session.scalar(select(func.count()).where(RUN_LEASES.held)) or 0
    return resend_seconds if busy < train_workers else BUSY_RESEND_SECONDS
