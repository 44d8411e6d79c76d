"""The tables of what votes count for: who answered, and how a vote stands on each two answers."""

from sqlalchemy import ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Base
from app.store.enums import Outcome


class Answerer(Base):
    """Who answers, whatever the conversation: a run's checkpoint, or a base model as it is.

    `sha256` is of all the other columns when the row was made. Of a deleted run only the name is left.
    """

    __tablename__ = "answerers"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(160))
    method: Mapped[str] = mapped_column(String(16))
    base_model: Mapped[str] = mapped_column(String(500))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    step: Mapped[int | None]


class LabelPair(Base):
    """How a vote stands on two of its answers, in the order in which the results name them.

    `open` votes are on conversations that were never blind: everybody may see their names.
    """

    __tablename__ = "label_pairs"
    __table_args__ = (
        Index("ix_label_pairs_tally", "first_id", "second_id", "outcome", "open", "label_id"),
        Index(None, "second_id"),
    )

    label_id: Mapped[int] = mapped_column(ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True)
    first_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True)
    second_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True)
    outcome: Mapped[Outcome]
    open: Mapped[bool] = mapped_column(default=False, server_default=false())
