"""Additional data for lists of runs, queried for all runs at once."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session, aliased

from app.store.contenders import REWARD
from app.store.enums import RunStatus
from app.store.models import Checkpoint, Metric, Run
from app.store.run_dependencies import STARTABLE

BATCH = 500
"""Runs per query."""


def places_in_queue(found: Sequence[Run], *, session: Session) -> dict[int, int]:
    """Queue places of the queued runs, by id: 1 for the run that starts next.

    A run that waits for another one has no place and is not counted.
    """
    waiting = {run.id for run in found if run.status is RunStatus.QUEUED}
    if not waiting:
        return {}
    queued = select(Run.id).where(STARTABLE, Run.id <= max(waiting)).order_by(Run.id)
    places = {run_id: place for place, run_id in enumerate(session.scalars(queued), start=1)}
    return {run_id: places[run_id] for run_id in waiting if run_id in places}


def queued_first(*, session: Session, limit: int) -> Sequence[Run]:
    """The queued runs that were launched first, also those that wait for another run."""
    return session.scalars(
        select(Run).where(Run.status == RunStatus.QUEUED).order_by(Run.id).limit(limit)
    ).all()


def final_metrics(run_ids: Collection[int], *, session: Session) -> dict[int, dict[str, float]]:
    """The last value of every metric, by run.

    A recursive query jumps from one metric name to the next in the index, so the time does not depend on the
    number of points.
    """
    ids = sorted(run_ids)
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for start in range(0, len(ids), BATCH):
        for run_id, name, value in session.execute(_final_metrics(ids[start : start + BATCH])):
            found[run_id][name] = value
    return found


def _final_metrics(run_ids: Sequence[int]) -> Select[Any]:
    first = select(func.min(Metric.name)).where(Metric.run_id == Run.id).scalar_subquery()
    named = select(Run.id.label("run_id"), first.label("name")).where(Run.id.in_(run_ids))
    names = named.cte("names", recursive=True)
    following = aliased(Metric)
    after = (
        select(func.min(following.name))
        .where(following.run_id == names.c.run_id, following.name > names.c.name)
        .scalar_subquery()
    )
    names = names.union_all(select(names.c.run_id, after).where(names.c.name.is_not(None)))
    last = aliased(Metric)
    value = (
        select(last.value)
        .where(last.run_id == names.c.run_id, last.name == names.c.name)
        .order_by(last.step.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(names.c.run_id, names.c.name, value).where(names.c.name.is_not(None))


def ended_last(*, session: Session, limit: int) -> Sequence[Run]:
    """The runs that ended last, newest first."""
    query = select(Run).where(Run.finished_at.is_not(None), Run.deleted_at.is_(None))
    return session.scalars(query.order_by(Run.finished_at.desc()).limit(limit)).all()


def checkpoints(run_ids: Collection[int], *, session: Session) -> dict[int, list[Checkpoint]]:
    """Checkpoints by run, oldest first."""
    found: dict[int, list[Checkpoint]] = defaultdict(list)
    query = select(Checkpoint).where(Checkpoint.run_id.in_(sorted(run_ids)))
    for checkpoint in session.scalars(query.order_by(Checkpoint.run_id, Checkpoint.step)):
        found[checkpoint.run_id].append(checkpoint)
    return found


def of_twin_group(group: str, *, session: Session) -> list[int]:
    """Ids of the runs of a twin group."""
    query = select(Run.id).where(Run.twin_group == group, Run.deleted_at.is_(None)).order_by(Run.id)
    return list(session.scalars(query))


def last_complete_twins(*, session: Session) -> Sequence[Run]:
    """The newest twins of which all are finished, oldest first.

    Reward models, which write no answers, and archived runs are left out.
    """
    kept: list[ColumnElement[bool]] = [
        Run.twin_group.is_not(None),
        Run.deleted_at.is_(None),
        Run.archived_at.is_(None),
        Run.method != REWARD,
    ]
    unfinished = func.sum(case((Run.status == RunStatus.FINISHED, 0), else_=1))
    groups = select(Run.twin_group).where(*kept).group_by(Run.twin_group)
    whole = groups.having(func.count() > 1, unfinished == 0).order_by(func.max(Run.id).desc()).limit(1)
    group = session.scalar(whole)
    if group is None:
        return []
    return session.scalars(select(Run).where(*kept, Run.twin_group == group).order_by(Run.id)).all()
