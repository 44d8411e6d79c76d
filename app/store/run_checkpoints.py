"""The checkpoint rows of a run. Their files are among the artifacts."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store.models import Checkpoint


def add(run_id: int, *, session: Session, step: int, path: str, size_bytes: int | None = None) -> None:
    session.execute(delete(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.step == step))
    session.add(Checkpoint(run_id=run_id, step=step, path=path, size_bytes=size_bytes))


def forget_before(run_id: int, *, session: Session, step: int) -> list[str]:
    """Delete the rows of checkpoints before a step, and return their paths for the caller to delete."""
    earlier = (Checkpoint.run_id == run_id, Checkpoint.step < step)
    paths = list(session.scalars(select(Checkpoint.path).where(*earlier)))
    session.execute(delete(Checkpoint).where(*earlier))
    return paths


def of_run(run_id: int, *, session: Session) -> Sequence[Checkpoint]:
    """A run's checkpoints, oldest first."""
    return session.scalars(
        select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step)
    ).all()


def last(run_id: int, *, session: Session) -> Checkpoint | None:
    return session.scalar(
        select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step.desc()).limit(1)
    )


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
