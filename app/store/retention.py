"""Retention: which checkpoints and online samples of a run are kept, and their disk use."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.store.enums import GenerationKind
from app.store.models import Checkpoint, Generation


@dataclass(frozen=True, slots=True)
class DiskUse:
    """A run's checkpoints: their number, how many are resumable, and their size in bytes, if known."""

    checkpoints: int
    resumable: int
    size_bytes: int | None


def disk_use(run_id: int, *, session: Session) -> DiskUse:
    """The disk use of a run's checkpoints."""
    count, size = session.execute(
        select(func.count(), func.sum(Checkpoint.size_bytes)).where(Checkpoint.run_id == run_id)
    ).one()
    resumable = session.scalar(select(func.count()).where(Checkpoint.run_id == run_id, Checkpoint.resumable))
    return DiskUse(count, resumable or 0, None if size is None else int(size))


def with_needless_state(run_id: int, *, session: Session, keep: int) -> Sequence[Checkpoint]:
    """Checkpoints with optimiser state, except the newest `keep`, oldest first."""
    found = session.scalars(
        select(Checkpoint)
        .where(Checkpoint.run_id == run_id, Checkpoint.resumable)
        .order_by(Checkpoint.step.desc())
        .offset(keep)
    ).all()
    return list(reversed(found))


def forget_state(checkpoint_id: int, *, session: Session, size_bytes: int) -> None:
    """Record that a checkpoint has only its weights left."""
    session.execute(
        update(Checkpoint)
        .where(Checkpoint.id == checkpoint_id)
        .values(resumable=False, size_bytes=size_bytes)
    )


def sample_stride(newest: int, kept: int) -> int:
    """The stride of older steps: only multiples of it keep their online samples.

    The newest `kept / 2` steps keep all samples; the other half of `kept` is spread over earlier steps. A
    stride is a power of two, so every step that a larger stride keeps was also kept by a smaller one.
    """
    half = max(1, kept // 2)
    stride = 1
    while kept and (newest - half) // stride > half:
        stride *= 2
    return stride


def thin_online_samples(run_id: int, *, session: Session, newest: int, kept: int) -> None:
    """Delete the online samples of older steps, except at multiples of `sample_stride`.

    Args:
        newest: the last step with samples.
        kept: the approximate number of steps that keep samples; 0 keeps all.
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
