"""The order of a list of runs: by a column of the row, or by the last value of a metric."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, func, select

from app.store import clock
from app.store.models import Dataset, Metric, Run

COLUMNS: Final[dict[str, tuple[ColumnElement[Any], ...]]] = {
    "launched": (Run.id.expression,),
    "name": (func.lower(Run.name),),
    "method": (Run.method.expression,),
    "state": (Run.status.expression,),
    "steps": (Run.step.expression,),
    "seconds": (clock.seconds_between(Run.started_at, Run.finished_at),),
    "dataset": (func.lower(Dataset.name), Dataset.version.expression),
    "model": (func.lower(Run.base_model),),
    "seed": (Run.seed.expression,),
}
"""What each sortable column of the row is sorted by."""

LARGEST: Final = 1.7e308
"""Beyond it a value is not finite. PostgreSQL sorts NaN above every number; such a value counts as none."""


@dataclass(frozen=True, slots=True)
class Order:
    """How a list of runs is sorted: by one of `COLUMNS`, or by the last value of `metric`."""

    column: str = "launched"
    metric: str | None = None
    descending: bool = True

    @property
    def is_newest_first(self) -> bool:
        return self.metric is None and self.column == "launched" and self.descending


def ordered(query: Select[Any], order: Order) -> Select[Any]:
    """Sort a query of runs that is joined with their datasets. Runs without a value come last, either way.

    Runs with equal values are sorted by their number, newest first.
    """
    keys = (_last(order.metric),) if order.metric is not None else COLUMNS[order.column]
    sorted_by = [(key.desc() if order.descending else key.asc()).nulls_last() for key in keys]
    return query.order_by(*sorted_by, Run.id.desc())


def _last(metric: str) -> ColumnElement[Any]:
    """The last value of a metric of a run, read at the end of its range in the primary key."""
    finite = case((func.abs(Metric.value) <= LARGEST, Metric.value))
    return (
        select(finite)
        .where(Metric.run_id == Run.id, Metric.name == metric)
        .order_by(Metric.step.desc())
        .limit(1)
        .scalar_subquery()
    )
