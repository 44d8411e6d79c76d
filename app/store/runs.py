"""Runs: every query and every transition between their states.

    queued ──claim──▶ running ──finish──▶ finished
      │ ▲               │ │ └──fail─────▶ failed
      │ └─release/reap──┘ └──cancelled──▶ cancelled
      └──────request_cancel─────────────▶ cancelled

Everything a worker writes is guarded by its lease: a worker that lost the run changes nothing. What
happens to a run whose worker died is in recovery.py.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.settings import get_settings
from app.store import clock, run_lists
from app.store.enums import EventLevel, RunStatus, RunWish
from app.store.models import (
    Checkpoint,
    Dataset,
    Run,
    RunEvent,
    Worker,
)

NO_LEASE: dict[str, Any] = {"lease_id": None, "lease_until": None, "cancel_by": None}
"""What a run that no worker holds has for a lease."""


def create(
    *,
    session: Session,
    name: str,
    config: Mapping[str, Any],
    dataset_id: int,
    twin_group: str | None = None,
    parent_id: int | None = None,
) -> Run:
    """Queue a run; `config` is a dumped TrainConfig.

    Raises:
        NotFound: when the dataset does not exist or was deleted.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.deleted_at is not None:
        raise NotFound(f"There is no dataset {dataset_id}; `hypo datasets list` shows what there is.")
    run = Run(
        name=name,
        method=str(config["method"]),
        dataset_id=dataset_id,
        base_model=str(config["model_name_or_path"]),
        config=dict(config),
        seed=int(config["seed"]),
        twin_group=twin_group,
        parent_id=parent_id,
    )
    session.add(run)
    session.flush()
    add_event(session=session, run_id=run.id, message="Queued.")
    session.refresh(run)
    return run


def get(run_id: int, *, session: Session) -> Run:
    """One run.

    Raises:
        NotFound: when there is none with this id.
    """
    run = session.get(Run, run_id)
    if run is None or run.deleted_at is not None:
        raise NotFound(f"There is no run {run_id}; `hypo runs list` shows what there is.")
    return run


def find(
    *,
    session: Session,
    method: str | None = None,
    status: RunStatus | None = None,
    dataset_name: str | None = None,
    name: str | None = None,
    limit: int = 200,
    offset: int = 0,
    before: int | None = None,
) -> Sequence[Run]:
    """Runs, newest first, with ids below `before`; `name` matches a part of the name, whatever the case."""
    query = select(Run).where(Run.deleted_at.is_(None)).order_by(Run.id.desc()).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Run.id < before)
    if method:
        query = query.where(Run.method == method)
    if status:
        query = query.where(Run.status == status)
    if dataset_name:
        query = query.join(Dataset, Run.dataset_id == Dataset.id).where(Dataset.name == dataset_name)
    if name:
        query = query.where(Run.name.icontains(name, autoescape=True))
    return session.scalars(query).all()


def twins_of(run: Run, *, session: Session) -> Sequence[Run]:
    """The runs launched together with this one, itself included, oldest first."""
    if run.twin_group is None:
        return [run]
    twins = select(Run).where(Run.twin_group == run.twin_group, Run.deleted_at.is_(None)).order_by(Run.id)
    return session.scalars(twins).all()


def of_ids(run_ids: Sequence[int], *, session: Session) -> list[Run]:
    """Those of the runs that there are, in the order of the ids."""
    query = select(Run).where(Run.id.in_(run_ids), Run.deleted_at.is_(None))
    found = {run.id: run for run in session.scalars(query)}
    return [found[run_id] for run_id in run_ids if run_id in found]


def count_by_status(*, session: Session) -> dict[RunStatus, int]:
    """How many runs are in each state; the few that are being deleted are taken off a count by index."""
    counts: dict[RunStatus, int] = {}
    by_status = select(Run.status, func.count()).group_by(Run.status)
    for sign, query in ((1, by_status), (-1, by_status.where(Run.deleted_at.is_not(None)))):
        for status, count in session.execute(query):
            counts[status] = counts.get(status, 0) + sign * count
    return {status: count for status, count in counts.items() if count}


def place_in_queue(run: Run, *, session: Session) -> int | None:
    """1 for the run that starts next; None for one that is not waiting."""
    if run.status is not RunStatus.QUEUED:
        return None
    ahead = select(func.count()).select_from(Run).where(Run.status == RunStatus.QUEUED, Run.id < run.id)
    return session.scalar(ahead) + 1  # type: ignore[operator]


# --- transitions -----------------------------------------------------------------------------


def mark_sent(run_id: int, *, session: Session) -> None:
    """Remember that the broker took the run's message."""
    session.execute(update(Run).where(Run.id == run_id).values(sent_at=clock.now()))


def claim(
    run_id: int, *, session: Session, worker: str, lease_seconds: float, lease_id: str | None = None
) -> Run | None:
    """Take a queued run: queued -> running, in one guarded UPDATE.

    Args:
        lease_id: the new lease's name; one is made if not given.

    Returns:
        The run with its new `lease_id`, or None when somebody else has it or it is not waiting any more.
    """
    taken = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.status == RunStatus.QUEUED)
        .values(
            status=RunStatus.RUNNING,
            attempt=Run.attempt + 1,
            lease_id=lease_id or str(uuid4()),
            lease_until=clock.after(lease_seconds),
            last_write=0,
            worker=worker,
            device=select(Worker.device).where(Worker.id == worker).scalar_subquery(),
            started_at=func.coalesce(Run.started_at, clock.now()),
            timed_from=None,
            timed_from_step=0,
            phase="starting",
            error=None,
            traceback=None,
        )
    )
    if taken.rowcount == 0:  # type: ignore[attr-defined]
        return None
    session.expire_all()
    run = get(run_id, session=session)
    again = f", attempt {run.attempt}" if run.attempt > 1 else ""
    add_event(session=session, run_id=run_id, message=f"Taken up by {worker}{again}.")
    return run


def claim_next(
    *, session: Session, worker: str, lease_seconds: float, lease_id: str | None = None
) -> Run | None:
    """Claim the run that waits longest and that nobody else is claiming; None when none waits.

    Args:
        lease_id: as for `claim`; with one that holds a run already, the claim was made, and its answer lost.
    """
    if lease_id is not None:
        made = select(Run).where(Run.status == RunStatus.RUNNING, Run.lease_id == lease_id)
        if (run := session.scalar(made)) is not None:
            return run
    waiting = (
        select(Run.id)
        .where(Run.status == RunStatus.QUEUED)
        .order_by(Run.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = session.scalar(waiting)
    if found is None:
        return None
    return claim(found, session=session, worker=worker, lease_seconds=lease_seconds, lease_id=lease_id)


def renew(run_id: int, lease_id: str, *, session: Session, lease_seconds: float) -> bool:
    """Keep a running run; False when the lease was lost and the worker must let go."""
    return _held(run_id, lease_id, session, lease_until=clock.after(lease_seconds))


def read_wish(run_id: int, lease_id: str, *, session: Session) -> RunWish | None:
    """What people want of the run; None when the lease was lost."""
    return session.scalar(
        select(Run.wish).where(Run.id == run_id, Run.lease_id == lease_id, Run.status == RunStatus.RUNNING)
    )


def set_progress(
    run_id: int, lease_id: str, *, session: Session, step: int, total_steps: int, phase: str
) -> bool:
    """Record how far the run is; False when the lease was lost."""
    values: dict[str, Any] = {"step": step, "total_steps": total_steps, "phase": phase[:80]}
    if step > 0:
        values["timed_from_step"] = case((Run.timed_from.is_(None), step), else_=Run.timed_from_step)
        values["timed_from"] = func.coalesce(Run.timed_from, clock.now())
    return _held(run_id, lease_id, session, **values)


def set_phase(run_id: int, lease_id: str, *, session: Session, phase: str) -> bool:
    """Record what a run does now, wherever it is; False when the lease was lost."""
    return _held(run_id, lease_id, session, phase=phase[:80])


def finish(run_id: int, lease_id: str, *, session: Session) -> bool:
    """running -> finished; False when the lease was lost."""
    done = _held(
        run_id, lease_id, session, status=RunStatus.FINISHED, finished_at=clock.now(), phase="", **NO_LEASE
    )
    if done:
        add_event(session=session, run_id=run_id, message="Finished.")
    return done


def fail(run_id: int, lease_id: str, *, session: Session, error: str, traceback: str | None = None) -> bool:
    """running -> failed, with a sentence for people; False when the lease was lost."""
    done = _held(
        run_id,
        lease_id,
        session,
        status=RunStatus.FAILED,
        finished_at=clock.now(),
        phase="",
        error=error,
        traceback=traceback,
        **NO_LEASE,
    )
    if done:
        add_event(session=session, run_id=run_id, level=EventLevel.ERROR, message=error)
    return done


def cancelled(run_id: int, lease_id: str, *, session: Session) -> bool:
    """running -> cancelled, written by the process that has let go; False when the lease was lost."""
    done = _held(
        run_id, lease_id, session, status=RunStatus.CANCELLED, finished_at=clock.now(), phase="", **NO_LEASE
    )
    if done:
        add_event(session=session, run_id=run_id, message="Cancelled.")
    return done


def release(run_id: int, lease_id: str, *, session: Session, reason: str) -> bool:
    """running -> queued, by a worker that goes away in good order; the attempt does not count."""
    done = _held(
        run_id,
        lease_id,
        session,
        status=RunStatus.QUEUED,
        attempt=Run.attempt - 1,
        phase="",
        sent_at=None,
        **NO_LEASE,
    )
    if done:
        add_event(session=session, run_id=run_id, message=reason)
    return done


def request_cancel(run_id: int, *, session: Session) -> Run:
    """Cancel: at once for a queued run, as a wish for a running one.

    Raises:
        Refused: when the run is over already.
    """
    run = get(run_id, session=session)
    waiting = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.status == RunStatus.QUEUED)
        .values(status=RunStatus.CANCELLED, finished_at=clock.now(), wish=RunWish.CANCEL)
    )
    if waiting.rowcount:  # type: ignore[attr-defined]
        add_event(session=session, run_id=run_id, message="Cancelled before it started.")
    else:
        wished = session.execute(
            update(Run)
            .where(Run.id == run_id, Run.status == RunStatus.RUNNING)
            .values(wish=RunWish.CANCEL, cancel_by=clock.after(get_settings().cancel_seconds))
        )
        if not wished.rowcount:  # type: ignore[attr-defined]
            session.refresh(run)
            raise Refused(f"Run {run_id} is {run.status.value} already; there is nothing to cancel.")
        add_event(session=session, run_id=run_id, message="Asked to cancel.")
    session.refresh(run)
    return run


def _held(run_id: int, lease_id: str, session: Session, /, **values: Any) -> bool:
    done = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.lease_id == lease_id, Run.status == RunStatus.RUNNING)
        .values(**values)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


# --- what a run leaves behind ----------------------------------------------------------------


def add_event(*, session: Session, run_id: int, message: str, level: EventLevel = EventLevel.INFO) -> None:
    session.add(RunEvent(run_id=run_id, level=level, message=message))


def events(run_id: int, *, session: Session, limit: int = 500) -> Sequence[RunEvent]:
    """The newest lines of a run's log, oldest first."""
    newest = select(RunEvent).where(RunEvent.run_id == run_id).order_by(RunEvent.id.desc()).limit(limit)
    return list(reversed(session.scalars(newest).all()))


def last_event_id(run_ids: Sequence[int], *, session: Session) -> int:
    """Something that changes whenever one of the runs logs a line."""
    return session.scalar(select(func.max(RunEvent.id)).where(RunEvent.run_id.in_(run_ids))) or 0


def add_checkpoint(
    run_id: int, *, session: Session, step: int, path: str, size_bytes: int | None = None
) -> None:
    session.execute(delete(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.step == step))
    session.add(Checkpoint(run_id=run_id, step=step, path=path, size_bytes=size_bytes))


def forget_checkpoints_before(run_id: int, *, session: Session, step: int) -> list[str]:
    """Drop the checkpoints of earlier steps; returns their paths, for the caller to delete."""
    earlier = (Checkpoint.run_id == run_id, Checkpoint.step < step)
    paths = list(session.scalars(select(Checkpoint.path).where(*earlier)))
    session.execute(delete(Checkpoint).where(*earlier))
    return paths


def checkpoints(run_id: int, *, session: Session) -> Sequence[Checkpoint]:
    """A run's checkpoints, oldest first."""
    return session.scalars(
        select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step)
    ).all()


def last_checkpoint(run_id: int, *, session: Session) -> Checkpoint | None:
    return session.scalar(
        select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step.desc()).limit(1)
    )


def seconds_left(run: Run, *, now: datetime | None = None) -> float | None:
    """Time to the end at the pace so far, in seconds; None before the first step or when not running."""
    done = run.step - run.timed_from_step
    if run.status is not RunStatus.RUNNING or run.timed_from is None or done < 1:
        return None
    spent = ((now or clock.present()) - run.timed_from).total_seconds()
    return max(0.0, spent / done * (run.total_steps - run.step))


def final_metrics(run_id: int, *, session: Session) -> dict[str, float]:
    """The last value of every metric of a run."""
    return run_lists.final_metrics([run_id], session=session).get(run_id, {})
