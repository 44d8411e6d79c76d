"""The checkpoint rows of a run. Their files are among the artifacts."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store.models import Checkpoint, Metric, Run


def add(run_id: int, *, session: Session, step: int, path: str, size_bytes: int | None = None) -> None:
    session.execute(delete(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.step == step))
    session.add(Checkpoint(run_id=run_id, step=step, path=path, size_bytes=size_bytes))


def forget_before(run_id: int, *, session: Session, step: int, best: int | None = None) -> list[str]:
    """Delete the rows of checkpoints before a step, but for the best step's.

    Returns:
        Their paths, for the caller to delete.
    """
    earlier = [Checkpoint.run_id == run_id, Checkpoint.step < step]
    if best is not None:
        earlier.append(Checkpoint.step != best)
    paths = list(session.scalars(select(Checkpoint.path).where(*earlier)))
    session.execute(delete(Checkpoint).where(*earlier))
    return paths


def best_metric(config: Mapping[str, Any]) -> str | None:
    """The metric by which a run's stored configuration chooses its best checkpoint; None without one."""
    metric = config.get("metric_for_best_model", "none")
    return None if metric == "none" else str(metric)


def best_step(run_id: int, metric: str | None, *, session: Session) -> int | None:
    """The step with the highest value of a metric, the first of several; None before it was measured.

    Step 0, where nothing is trained, does not count.
    """
    if metric is None:
        return None
    return session.scalar(
        select(Metric.step)
        .where(Metric.run_id == run_id, Metric.name == metric, Metric.step > 0)
        .order_by(Metric.value.desc(), Metric.step)
        .limit(1)
    )


def best_step_of(run: Run, *, session: Session) -> int | None:
    """The step of a run's best checkpoint; None if it does not choose one, or has none yet."""
    return best_step(run.id, best_metric(run.config), session=session)


def best_steps(found: Sequence[Run], *, session: Session) -> dict[int, int]:
    """The same of several runs, those that have one, by the run's id: a query for each metric."""
    by_metric: dict[str, list[int]] = {}
    for run in found:
        if metric := best_metric(run.config):
            by_metric.setdefault(metric, []).append(run.id)
    best: dict[int, int] = {}
    for metric, run_ids in by_metric.items():
        rows = session.execute(
            select(Metric.run_id, Metric.step)
            .where(Metric.run_id.in_(run_ids), Metric.name == metric, Metric.step > 0)
            .order_by(Metric.value.desc(), Metric.step)
        )
        for run_id, step in rows:
            best.setdefault(run_id, step)
    return best


def of_run(run_id: int, *, session: Session) -> Sequence[Checkpoint]:
    """A run's checkpoints, oldest first."""
    return session.scalars(
        select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step)
    ).all()


def last(run_id: int, *, session: Session) -> Checkpoint | None:
    return session.scalar(
        select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step.desc()).limit(1)
    )


def of_step(run_id: int, step: int, *, session: Session) -> Checkpoint | None:
    """The checkpoint of one step of a run, if it is kept."""
    return session.scalar(select(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.step == step))


def get(checkpoint_id: int, *, session: Session) -> Checkpoint:
    """One checkpoint.

    Raises:
        NotFound: when the id does not exist.
    """
    checkpoint = session.get(Checkpoint, checkpoint_id)
    if checkpoint is None:
        raise NotFound(f"There is no checkpoint {checkpoint_id}; the run may have been deleted.")
    return checkpoint


def is_kept(path: str, *, session: Session) -> bool:
    """Whether a checkpoint with this path exists. Paths name the run, whose id is never used again."""
    return session.scalar(select(Checkpoint.id).where(Checkpoint.path == path).limit(1)) is not None
