"""Tables of datasets and of voted prompts."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.enums import Split


class Dataset(Base):
    """One immutable version of a named set of pairs.

    `account` counts what the source contains beyond the pairs (`hypo_engine.data.account`). It is empty if
    the source was not counted. `parent_id` is the version of which this one was made by leaving out pairs.
    """

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int]
    left_out_count: Mapped[int] = mapped_column(default=0)
    held_out: Mapped[float] = mapped_column(default=0.1)
    format: Mapped[str] = mapped_column(String(60))
    source: Mapped[str] = mapped_column(String(500))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("datasets.id", ondelete="SET NULL"), index=True)
    account: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    deleted_at: Mapped[datetime | None]


class DatasetPair(Base):
    """One preference pair. `prompt` is a string or a list of messages; `row` is its 1-based source row.

    `weight` is NULL for a pair that counts like all others, `margin` for one without.
    """

    __tablename__ = "dataset_pairs"
    __table_args__ = (Index(None, "dataset_id", "split", "position"),)

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    row: Mapped[int] = mapped_column(BigInteger)
    split: Mapped[Split]
    prompt: Mapped[Any]
    chosen: Mapped[str] = mapped_column(Text)
    rejected: Mapped[str] = mapped_column(Text)
    weight: Mapped[float | None] = mapped_column(Float(53))
    margin: Mapped[float | None] = mapped_column(Float(53))


class DatasetLeftOut(Base):
    """A row of a dataset's source that did not become a pair, and the reason."""

    __tablename__ = "dataset_left_out"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    row: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(300))


class VotedPrompt(Base):
    """A prompt whose votes became training pairs. No dataset holds it out for evaluation any longer.

    `sha256` is `hypo_engine.data.formats.prompt_key`.
    """

    __tablename__ = "voted_prompts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=clock.now())
