"""Tables of adjudication: verdicts on comparisons on which voters differ."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.enums import Choice, WhyLeftOut
from app.store.tally_models import Pair


class Adjudication(Base):
    """A verdict on a campaign's comparison by somebody who has read the votes on it. It is no vote.

    The one that is not withdrawn counts; earlier ones are kept. `best_id`, `worst_id` and `shown` are
    generations, as in a label; `left_out` and `cut` are derived in the same way.
    """

    __tablename__ = "adjudications"

    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    choice: Mapped[Choice]
    best_id: Mapped[int | None] = mapped_column(ForeignKey("generations.id"), index=True)
    worst_id: Mapped[int | None] = mapped_column(ForeignKey("generations.id"), index=True)
    shown: Mapped[list[Any]]
    reason: Mapped[str] = mapped_column(Text, default="")
    left_out: Mapped[WhyLeftOut | None]
    cut: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    withdrawn_at: Mapped[datetime | None] = mapped_column(index=True)


class AdjudicationPair(Pair, Base):
    """The outcome of an adjudication for two of its answers, as `LabelPair` has it for a vote."""

    __tablename__ = "adjudication_pairs"

    adjudication_id: Mapped[int] = mapped_column(
        ForeignKey("adjudications.id", ondelete="CASCADE"), primary_key=True
    )
    first_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True, index=True)
    second_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True, index=True)
