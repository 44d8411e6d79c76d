"""Table of votes."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.enums import Choice, WhyLeftOut

_TALLY = ("blind", "first_side", "longer", "left_out", "cut", "open", "comparison_id")
"""The columns that totals of votes read: a covering index."""


class Label(Base):
    """A person's vote on a comparison.

    For BEST, `best_id` and `worst_id` are generations. `shown` holds the generations' ids in display order.
    `aspects` maps each aspect that was asked to the best answer's id for it, or to an `AspectChoice`.
    The columns from `first_side` on are derived, so that pages can aggregate votes without reading answers:
    see tallies.py.
    """

    __tablename__ = "labels"
    __table_args__ = (
        UniqueConstraint("comparison_id", "user_id"),
        Index(None, "user_id", "id"),
        Index(None, "choice", "id"),
        Index("ix_labels_opinion", "comparison_id", "choice", "best_id", "worst_id", "open"),
        Index("ix_labels_tally", *_TALLY),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    choice: Mapped[Choice]
    best_id: Mapped[int | None] = mapped_column(ForeignKey("generations.id"), index=True)
    worst_id: Mapped[int | None] = mapped_column(ForeignKey("generations.id"), index=True)
    shown: Mapped[list[Any]]
    blind: Mapped[bool]
    aspects: Mapped[dict[str, Any]] = mapped_column(default=dict)
    reason: Mapped[str] = mapped_column(Text, default="")
    seconds: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    updated_at: Mapped[datetime] = mapped_column(default=clock.now())

    first_side: Mapped[bool | None]
    longer: Mapped[bool | None]
    left_out: Mapped[WhyLeftOut | None]
    cut: Mapped[bool] = mapped_column(default=False, server_default=false())
    open: Mapped[bool] = mapped_column(default=False, server_default=false())
    counted: Mapped[int] = mapped_column(default=0, server_default="0", index=True)
