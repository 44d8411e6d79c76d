"""Retention: what a run keeps of its checkpoints and online samples, and what that takes on disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.store.enums import GenerationKind
from app.store.models import Checkpoint, Generation


@dataclass(frozen=True, slots=True)
class DiskUse:
    """How many checkpoints a run has, how many of them can be resumed from, and their bytes, if known."""

    checkpoints: int
    resumable: int
    size_bytes: int | None


def disk_use(run_id: int, *, session: Session) -> DiskUse:
    """What a run's checkpoints take."""
    count, size = session.execute(
        select(func.count(), func.sum(Checkpoint.size_bytes)).where(Checkpoint.run_id == run_id)
    ).one()
    resumable = session.scalar(select(func.count()).where(Checkpoint.run_id == run_id, Checkpoint.resumable))
    return DiskUse(count, resumable or 0, None if size is None else int(size))


def with_needless_state(run_id: int, *, session: Session, keep: int) -> Sequence[Checkpoint]:
    """Checkpoints that have the optimiser's state although `keep` later ones do, oldest first."""
    found = session.scalars(
        select(Checkpoint)
        .where(Checkpoint.run_id == run_id, Checkpoint.resumable)
        .order_by(Checkpoint.step.desc())
        .offset(keep)
    ).all()
    return list(reversed(found))


def forget_state(checkpoint_id: int, *, session: Session, size_bytes: int) -> None:
    """Record that a checkpoint has only weights left."""
    session.execute(
        update(Checkpoint)
        .where(Checkpoint.id == checkpoint_id)
        .values(resumable=False, size_bytes=size_bytes)
    )


def sample_stride(newest: int, kept: int) -> int:
    """Of which older steps online samples are kept: of each that this number divides.

    The last half of the `kept` steps have all theirs; the other half is spread over what came before. A
    stride is a power of two, so what a larger one keeps, a smaller one kept.
    """
    half = max(1, kept // 2)
    stride = 1
    while kept and (newest - half) // stride > half:
        stride *= 2
    return stride


def thin_online_samples(run_id: int, *, session: Session, newest: int, kept: int) -> None:
    """Delete the online samples of older steps that are not kept.

    Args:
        newest: the last step with samples.
        kept: of how many steps samples are kept, about; 0 keeps all.
    """
    stride = sample_stride(newest, kept)
    if stride == 1:
        return
    session.execute(
        delete(Generation)
        .where(
            Generation.run_id == run_id,
            Generation.kind == GenerationKind.ONLINE,
            Generation.step <= newest - max(1, kept // 2),
            Generation.step % stride != 0,
        )
        .execution_options(synchronize_session=False)
    )
