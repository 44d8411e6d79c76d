"""Runs: creation and queries. Their states are in run_transitions.py, their logs in run_events.py."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, contains_eager

from app.errors import NotFound
from app.store import clock, run_events, run_lists
from app.store.enums import RunStatus, Shelf
from app.store.models import Dataset, Run, RunTag
from app.store.run_order import Order, ordered


def create(
    *,
    session: Session,
    name: str,
    config: Mapping[str, Any],
    dataset_id: int,
    twin_group: str | None = None,
    parent_id: int | None = None,
    depends_on_id: int | None = None,
) -> Run:
    """Queue a run; `config` is a dumped TrainConfig. It waits until the run that it depends on is finished.

    Raises:
        NotFound: when the dataset does not exist or was deleted.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.deleted_at is not None:
        raise NotFound(f"There is no dataset {dataset_id}; `hypo datasets list` lists all datasets.")
    run = Run(
        name=name,
        method=str(config["method"]),
        dataset_id=dataset_id,
        base_model=str(config["model_name_or_path"]),
        config=dict(config),
        seed=int(config["seed"]),
        twin_group=twin_group,
        parent_id=parent_id,
        depends_on_id=depends_on_id,
    )
    session.add(run)
    session.flush()
    waits = f" It waits for run {depends_on_id}." if depends_on_id is not None else ""
    run_events.add(session=session, run_id=run.id, message=f"Queued.{waits}")
    session.refresh(run)
    return run


def get(run_id: int, *, session: Session) -> Run:
    """One run.

    Raises:
        NotFound: when the id does not exist.
    """
    run = session.get(Run, run_id)
    if run is None or run.deleted_at is not None:
        raise NotFound(f"There is no run {run_id}; `hypo runs list` lists all runs.")
    return run


def find(
    *,
    session: Session,
    method: str | None = None,
    without_method: str | None = None,
    status: RunStatus | None = None,
    dataset_name: str | None = None,
    name: str | None = None,
    tag: str | None = None,
    shelf: Shelf = Shelf.ALL,
    order: Order | None = None,
    limit: int = 200,
    offset: int = 0,
    before: int | None = None,
) -> Sequence[Run]:
    """Runs, newest first unless an `order` is given. `name` is a case-insensitive substring of the name.

    Args:
        before: only runs with a lower id.
    """
    query = select(Run).join(Run.dataset).options(contains_eager(Run.dataset))
    query = query.where(Run.deleted_at.is_(None)).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Run.id < before)
    if method:
        query = query.where(Run.method == method)
    if without_method:
        query = query.where(Run.method != without_method)
    if status:
        query = query.where(Run.status == status)
    if dataset_name:
        query = query.where(Dataset.name == dataset_name)
    if name:
        query = query.where(Run.name.icontains(name, autoescape=True))
    if tag:
        query = query.where(Run.id.in_(select(RunTag.run_id).where(RunTag.tag == tag)))
    if shelf is not Shelf.ALL:
        archived = Run.archived_at.is_not(None) if shelf is Shelf.ARCHIVED else Run.archived_at.is_(None)
        query = query.where(archived)
    return session.scalars(ordered(query, order or Order())).all()


def twins_of(run: Run, *, session: Session) -> Sequence[Run]:
    """The runs launched together with this one, itself included, oldest first."""
    if run.twin_group is None:
        return [run]
    twins = select(Run).where(Run.twin_group == run.twin_group, Run.deleted_at.is_(None)).order_by(Run.id)
    return session.scalars(twins).all()


def of_ids(run_ids: Sequence[int], *, session: Session) -> list[Run]:
    """The existing runs with these ids, in the order of the ids."""
    query = select(Run).where(Run.id.in_(run_ids), Run.deleted_at.is_(None))
    found = {run.id: run for run in session.scalars(query)}
    return [found[run_id] for run_id in run_ids if run_id in found]


def locked(run_ids: Sequence[int], *, session: Session) -> Sequence[Run]:
    """The existing runs with these ids, locked until the end of the transaction."""
    query = select(Run).where(Run.id.in_(run_ids), Run.deleted_at.is_(None)).order_by(Run.id)
    return session.scalars(query.with_for_update(of=Run)).all()


def count_by_status(*, session: Session) -> dict[RunStatus, int]:
    """The number of runs per state. The few removed runs are subtracted from a count that uses the index."""
    counts: dict[RunStatus, int] = {}
    by_status = select(Run.status, func.count()).group_by(Run.status)
    for sign, query in ((1, by_status), (-1, by_status.where(Run.deleted_at.is_not(None)))):
        for status, count in session.execute(query):
            counts[status] = counts.get(status, 0) + sign * count
    return {status: count for status, count in counts.items() if count}


def place_in_queue(run: Run, *, session: Session) -> int | None:
    """1 for the run that starts next; None for one that is not queued or waits for another run."""
    return run_lists.places_in_queue([run], session=session).get(run.id)


def seconds_left(run: Run, *, now: datetime | None = None) -> float | None:
    """Estimated seconds to the end at the pace so far; None before the first step or when not running."""
    done = run.step - run.timed_from_step
    if run.status is not RunStatus.RUNNING or run.timed_from is None or done < 1:
        return None
    spent = ((now or clock.present()) - run.timed_from).total_seconds()
    return max(0.0, spent / done * (run.total_steps - run.step))


def final_metrics(run_id: int, *, session: Session) -> dict[str, float]:
    """The last value of every metric of a run."""
    return run_lists.final_metrics([run_id], session=session).get(run_id, {})
