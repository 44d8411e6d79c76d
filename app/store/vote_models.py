"""Tables related to votes: who has seen the names of a comparison, and earlier versions of votes."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.enums import Choice


class NamesSeen(Base):
    """A person has seen the names of a comparison. Their later votes on it are not blind."""

    __tablename__ = "names_seen"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    comparison_id: Mapped[int] = mapped_column(
        ForeignKey("comparisons.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    at: Mapped[datetime] = mapped_column(default=clock.now())


class LabelVersion(Base):
    """An earlier version of a changed or withdrawn vote, valid from `given_at` to `ended_at`."""

    __tablename__ = "label_versions"
    __table_args__ = (Index(None, "comparison_id", "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    choice: Mapped[Choice]
    best_id: Mapped[int | None] = mapped_column(ForeignKey("generations.id"), index=True)
    worst_id: Mapped[int | None] = mapped_column(ForeignKey("generations.id"), index=True)
    shown: Mapped[list[Any]]
    blind: Mapped[bool]
    aspects: Mapped[dict[str, Any]] = mapped_column(default=dict)
    reason: Mapped[str] = mapped_column(Text)
    seconds: Mapped[float | None]
    withdrawn: Mapped[bool]
    given_at: Mapped[datetime]
    ended_at: Mapped[datetime] = mapped_column(default=clock.now())
