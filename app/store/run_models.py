"""Tables of runs and of their tags, log lines, metrics and checkpoints."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, Text, UniqueConstraint, true
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store import clock
from app.store.base import Base
from app.store.claims import Leased
from app.store.dataset_models import Dataset
from app.store.enums import EventLevel, RunStatus, RunWish


class Run(Leased, Base):
    """One training run. The row is the source of truth: messages carry only its id, which is never reused."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "status", "id"),
        Index(None, "finished_at"),
        Index(None, "base_model"),
        Index(
            "ix_runs_deleted",
            "id",
            sqlite_where=sql("deleted_at IS NOT NULL"),
            postgresql_where=sql("deleted_at IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    name: Mapped[str] = mapped_column(String(120))
    method: Mapped[str] = mapped_column(String(16))
    status: Mapped[RunStatus] = mapped_column(default=RunStatus.QUEUED)
    wish: Mapped[RunWish] = mapped_column(default=RunWish.NONE)
    cancel_by: Mapped[datetime | None]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    base_model: Mapped[str] = mapped_column(String(500))
    config: Mapped[dict[str, Any]]
    seed: Mapped[int]
    twin_group: Mapped[str | None] = mapped_column(String(36), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    notes: Mapped[str] = mapped_column(Text, default="", server_default="")
    archived_at: Mapped[datetime | None]
    depends_on_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)

    last_write: Mapped[int] = mapped_column(default=0, server_default="0")
    device: Mapped[str | None] = mapped_column(String(100))

    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int] = mapped_column(default=0)
    phase: Mapped[str] = mapped_column(String(80), default="")
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)

    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    started_at: Mapped[datetime | None]
    timed_from: Mapped[datetime | None]
    timed_from_step: Mapped[int] = mapped_column(default=0)
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship(lazy="joined", innerjoin=True)


class RunTag(Base):
    """A tag that a person gave a run."""

    __tablename__ = "run_tags"
    __table_args__ = (Index(None, "tag", "run_id"),)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(40), primary_key=True)


class RunEvent(Base):
    """A line of a run's log."""

    __tablename__ = "run_events"
    __table_args__ = (Index(None, "run_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=clock.now())
    level: Mapped[EventLevel] = mapped_column(default=EventLevel.INFO)
    message: Mapped[str] = mapped_column(Text)


class Metric(Base):
    """One value measured at one step. A resumed run overwrites the steps that it repeats."""

    __tablename__ = "metrics"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Float(53))
    at: Mapped[datetime] = mapped_column(default=clock.now())


class Checkpoint(Base):
    """A complete set of weights of a run; `path` is relative to the artifacts' root.

    A run can resume from a `resumable` checkpoint. The others no longer have their optimiser state.
    """

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("run_id", "step"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    step: Mapped[int]
    path: Mapped[str] = mapped_column(String(500))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    resumable: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
