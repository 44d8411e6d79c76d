"""Measured step times of earlier runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.enums import RunStatus
from app.store.models import Metric, Run

WARM_UP_STEPS = 2
"""Slow first steps of a process, excluded unless there are no others."""

NAMES = ("step_time", "time/training", "time/sampling", "completions/mean_length", "num_tokens")


@dataclass(frozen=True, slots=True)
class Measured:
    """A run and its mean step.

    Attributes:
        means: Metric means over the steps after the warm-up; `num_tokens` is the mean of a running total.
        last: The last step with metrics.
        num_tokens: Tokens of pairs read by then.
    """

    run: Run
    means: dict[str, float]
    last: int
    num_tokens: float


def latest(
    *, session: Session, models: Sequence[str], method: str, device: str | None, limit: int = 20
) -> Sequence[Run]:
    """Runs of some base models and a method that have completed steps, newest first."""
    query = (
        select(Run)
        .where(Run.base_model.in_(models), Run.method == method, Run.step > 0)
        .order_by(Run.id.desc())
        .limit(limit)
    )
    if device is not None:
        query = query.where(Run.device == device)
    return session.scalars(query).all()


def measured(run: Run, *, session: Session) -> Measured | None:
    """The mean step of a run; None if it has no metrics of steps."""
    own = (Metric.run_id == run.id, Metric.name.in_(NAMES), Metric.step > 0)
    last = session.scalar(select(func.max(Metric.step)).where(*own))
    if last is None:
        return None
    after = WARM_UP_STEPS if last > WARM_UP_STEPS else 0
    rows = session.execute(
        select(Metric.name, func.avg(Metric.value), func.max(Metric.value))
        .where(*own, Metric.step > after)
        .group_by(Metric.name)
    ).all()
    means = {name: float(mean) for name, mean, _ in rows}
    totals = {name: float(most) for name, _, most in rows}
    return Measured(run, means, last, totals.get("num_tokens", 0.0))


def seconds_beside_steps(found: Measured) -> float | None:
    """Seconds that a finished run spent outside steps: loading, evaluating, saving; None if unknown."""
    run, step_time = found.run, found.means.get("step_time")
    if run.status is not RunStatus.FINISHED or run.attempt != 1 or not step_time:
        return None
    if run.finished_at is None or run.started_at is None:
        return None
    return max(0.0, (run.finished_at - run.started_at).total_seconds() - step_time * run.step)
