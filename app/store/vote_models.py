"""Tables beside the votes: who has seen the names of a comparison, and what a vote said before."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.enums import Choice


class NamesSeen(Base):
    """A person was shown who wrote the answers of a comparison; no later vote of theirs on it is blind."""

    __tablename__ = "names_seen"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    comparison_id: Mapped[int] = mapped_column(
        ForeignKey("comparisons.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    at: Mapped[datetime] = mapped_column(default=clock.now())


class LabelVersion(Base):
    """A vote as it was before it was changed or withdrawn. `given_at` to `ended_at` is when it stood."""

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
    reason: Mapped[str] = mapped_column(Text)
    seconds: Mapped[float | None]
    withdrawn: Mapped[bool]
    given_at: Mapped[datetime]
    ended_at: Mapped[datetime] = mapped_column(default=clock.now())
