"""Runs that wait for another run: when they may start, and how they end if the other does not finish.

A run that learns from the scores of a reward model depends on the run that trains the model. It stays queued,
and no worker claims it, until that run is finished.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session, aliased

from app.errors import Refused
from app.store import clock, run_events
from app.store.enums import EventLevel, RunStatus
from app.store.models import Run

_Awaited = aliased(Run)

STARTABLE = (Run.status == RunStatus.QUEUED) & (
    Run.depends_on_id.is_(None)
    | exists()
    .where(
        _Awaited.id == Run.depends_on_id,
        _Awaited.status == RunStatus.FINISHED,
        _Awaited.deleted_at.is_(None),
    )
    .correlate(Run)
)
"""The condition for runs that a worker may claim."""

DELETED = "deleted"
_ENDED = (RunStatus.FAILED, RunStatus.CANCELLED)


def startable(run_ids: Collection[int], *, session: Session) -> Sequence[int]:
    """Those of some runs that a worker may claim, oldest first."""
    return session.scalars(select(Run.id).where(Run.id.in_(run_ids), STARTABLE).order_by(Run.id)).all()


def startable_after(run_id: int, *, session: Session) -> Sequence[int]:
    """The runs that waited for a finished run, oldest first."""
    return session.scalars(
        select(Run.id).where(Run.depends_on_id == run_id, STARTABLE).order_by(Run.id)
    ).all()


def dependants(run_id: int, *, session: Session) -> Sequence[int]:
    """The queued runs that depend on a run, oldest first."""
    query = select(Run.id).where(Run.depends_on_id == run_id, Run.status == RunStatus.QUEUED)
    return session.scalars(query.order_by(Run.id)).all()


def awaited(found: Sequence[Run], *, session: Session) -> dict[int, Run]:
    """The runs that queued runs wait for, by the id of the run that waits."""
    waiting = [run.id for run in found if run.status is RunStatus.QUEUED and run.depends_on_id is not None]
    if not waiting:
        return {}
    other = aliased(Run)
    query = select(Run.id, other).join(other, other.id == Run.depends_on_id)
    pairs = session.execute(query.where(Run.id.in_(waiting), ~STARTABLE)).all()
    return {run_id: awaited for run_id, awaited in pairs}


def fail_dependants(run_id: int, ending: str, *, session: Session) -> None:
    """queued -> failed, for the runs that wait for a run that ended without finishing or was deleted.

    Args:
        ending: how it ended: failed, cancelled or deleted.
    """
    remedy = (
        "launch it again with another reward"
        if ending == DELETED
        else f"resume run {run_id}, then resume this one"
    )
    for dependant in dependants(run_id, session=session):
        error = f"Run {run_id}, which this run waited for, {_was(ending)}; {remedy}."
        failed = session.execute(
            update(Run)
            .where(Run.id == dependant, Run.status == RunStatus.QUEUED)
            .values(status=RunStatus.FAILED, finished_at=clock.now(), error=error, traceback=None)
        )
        if failed.rowcount:  # type: ignore[attr-defined]
            run_events.add(session=session, run_id=dependant, level=EventLevel.ERROR, message=error)
            fail_dependants(dependant, RunStatus.FAILED, session=session)


def stranded(*, session: Session) -> list[tuple[int, str]]:
    """Runs that ended or were deleted while others still wait for them, and how they ended.

    This happens when a run is launched in the moment in which the one that it names ends.
    """
    query = select(_Awaited.id, _Awaited.status, _Awaited.deleted_at).distinct()
    query = query.join(Run, Run.depends_on_id == _Awaited.id).where(Run.status == RunStatus.QUEUED)
    gone = _Awaited.deleted_at.is_not(None) | _Awaited.status.in_(_ENDED)
    found = session.execute(query.where(gone).order_by(_Awaited.id))
    return [(run_id, DELETED if deleted_at else status.value) for run_id, status, deleted_at in found]


def refuse_without_awaited(run: Run, *, session: Session) -> None:
    """Refuse to queue a run again while the run that it depends on has failed or was cancelled.

    Raises:
        Refused: names the run to resume first.
    """
    other = None if run.depends_on_id is None else session.get(Run, run.depends_on_id)
    if other is not None and other.status in _ENDED:
        ended = _was(other.status)
        raise Refused(f"Run {run.id} waits for run {other.id}, which {ended}; resume it first.")


def _was(ending: str) -> str:
    return ending if ending == RunStatus.FAILED else f"was {ending}"
