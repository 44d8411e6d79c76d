"""Metrics: numbers by run, step and name."""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.store.models import Metric, utcnow


def record(run_id: int, *, session: Session, step: int, values: Mapping[str, float]) -> None:
    """Store values measured at a step, in place of those an earlier attempt stored there."""
    session.execute(
        delete(Metric).where(Metric.run_id == run_id, Metric.step == step, Metric.name.in_(list(values)))
    )
    now = utcnow()
    session.add_all(
        Metric(run_id=run_id, name=name, step=step, value=value, at=now) for name, value in values.items()
    )


def series(
    run_ids: Sequence[int], names: Sequence[str], *, session: Session, after_step: int = -1
) -> dict[tuple[int, str], list[tuple[int, float]]]:
    """Points (step, value), in order, keyed by run and name; a key without points is absent."""
    rows = session.execute(
        select(Metric.run_id, Metric.name, Metric.step, Metric.value)
        .where(Metric.run_id.in_(run_ids), Metric.name.in_(names), Metric.step > after_step)
        .order_by(Metric.run_id, Metric.name, Metric.step)
    )
    found: dict[tuple[int, str], list[tuple[int, float]]] = {}
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
