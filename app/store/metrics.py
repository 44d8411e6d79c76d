"""Metrics: numbers by run, step and name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Integer, and_, bindparam, delete, false, func, or_, select
from sqlalchemy.orm import Session

from app.store.models import Metric


def record(run_id: int, *, session: Session, step: int, values: Mapping[str, float]) -> None:
    """Store values measured at a step, in place of those an earlier attempt stored there."""
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
    """Some metrics with about `most` points a series: of a longer one, means of equally many steps.

    A mean stands at the last step of its group, so the first point lies later than the first step. The
    database makes the groups; the points of a long run never leave it.
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
    # Run by run: SQLite uses no index for a list of (run, name).
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


# One statement for each series: over all of them at once, PostgreSQL reads and sorts the whole table.
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
    """Names of all metrics the runs have, sorted."""
    query = select(Metric.name).where(Metric.run_id.in_(run_ids)).distinct().order_by(Metric.name)
    return session.scalars(query).all()


def revision(run_ids: Sequence[int], *, session: Session) -> tuple[int, int]:
    """Something that changes whenever the runs have new points: how many there are, and the last step."""
    query = select(func.count(), func.max(Metric.step)).where(Metric.run_id.in_(run_ids))
    points, last = session.execute(query).one()
    return points, last or 0
