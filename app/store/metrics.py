"""Metrics: numbers by run, step and name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Integer, and_, bindparam, delete, false, func, or_, select
from sqlalchemy.orm import Session

from app.store.models import Metric


def record(run_id: int, *, session: Session, step: int, values: Mapping[str, float]) -> None:
    """Store values measured at a step. They replace those of an earlier attempt."""
    session.execute(
        delete(Metric).where(Metric.run_id == run_id, Metric.step == step, Metric.name.in_(list(values)))
    )
    session.add_all(
        Metric(run_id=run_id, name=name, step=step, value=value) for name, value in values.items()
    )


Series = dict[tuple[int, str], list[tuple[int, float]]]
"""Points (step, value), in order, keyed by run and name; a key without points is absent."""


def series(run_ids: Sequence[int], names: Sequence[str], *, session: Session, after_step: int = -1) -> Series:
    """All points of some metrics after a step."""
    rows = session.execute(
        select(Metric.run_id, Metric.name, Metric.step, Metric.value)
        .where(Metric.run_id.in_(run_ids), Metric.name.in_(names), Metric.step > after_step)
        .order_by(Metric.run_id, Metric.name, Metric.step)
    )
    return _by_key(rows)


def thinned(run_ids: Sequence[int], names: Sequence[str], *, session: Session, most: int) -> Series:
    """Metrics downsampled to about `most` points per series. Longer series become means of step ranges.

    A mean is placed at the last step of its range, so the first point is later than the first step. The
    database computes the means, so the points of a long run are never loaded.
    """
    sizes = session.execute(
        select(Metric.run_id, Metric.name, func.count(), func.min(Metric.step), func.max(Metric.step))
        .where(Metric.run_id.in_(run_ids), Metric.name.in_(names))
        .group_by(Metric.run_id, Metric.name)
    ).all()
    short: dict[int, list[str]] = {}
    for run_id, name, points, _, _ in sizes:
        if points <= most:
            short.setdefault(run_id, []).append(name)
    # One condition per run: SQLite uses no index for a list of (run, name).
    of_runs = [and_(Metric.run_id == run_id, Metric.name.in_(few)) for run_id, few in short.items()]
    rows = session.execute(
        select(Metric.run_id, Metric.name, Metric.step, Metric.value)
        .where(or_(false(), *of_runs))
        .order_by(Metric.run_id, Metric.name, Metric.step)
    )
    found = _by_key(rows)
    for run_id, name, points, first, last in sizes:
        if points > most:
            group = {"first": first, "steps": -(-(last - first + 1) // most)}
            means = session.execute(_MEANS, {"run": run_id, "metric": name, **group})
            found[run_id, name] = [(step, value) for step, value in means]
    return found


# One statement per series: for all series at once, PostgreSQL would read and sort the whole table.
_MEANS = (
    select(func.max(Metric.step), func.avg(Metric.value))
    .where(Metric.run_id == bindparam("run"), Metric.name == bindparam("metric"))
    .group_by((Metric.step - bindparam("first", type_=Integer)) // bindparam("steps", type_=Integer))
    .order_by(func.max(Metric.step))
)


def _by_key(rows: Iterable[Any]) -> Series:
    found: Series = {}
    for run_id, name, step, value in rows:
        found.setdefault((run_id, name), []).append((step, value))
    return found


def names_of(run_ids: Sequence[int], *, session: Session) -> Sequence[str]:
    """Sorted names of all metrics of the runs."""
    query = select(Metric.name).where(Metric.run_id.in_(run_ids)).distinct().order_by(Metric.name)
    return session.scalars(query).all()


def revision(run_ids: Sequence[int], *, session: Session) -> tuple[int, int]:
    """A value that changes whenever the runs get new points: their number and the last step."""
    query = select(func.count(), func.max(Metric.step)).where(Metric.run_id.in_(run_ids))
    points, last = session.execute(query).one()
    return points, last or 0


def last_steps(
    run_ids: Sequence[int], names: Sequence[str], *, session: Session
) -> dict[tuple[int, str], int]:
    """The last step at which each metric was measured, keyed by run and name."""
    query = (
        select(Metric.run_id, Metric.name, func.max(Metric.step))
        .where(Metric.run_id.in_(run_ids), Metric.name.in_(names))
        .group_by(Metric.run_id, Metric.name)
    )
    return {(run_id, name): step for run_id, name, step in session.execute(query)}
