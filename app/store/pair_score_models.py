"""Tables of scorings: a dataset's pairs under a run's checkpoint."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.claims import Leased
from app.store.enums import MarginKind, PairScoringStatus


class PairScoring(Leased, Base):
    """The scoring of a dataset version under one checkpoint and its reference.

    `run_name`, `method`, `margin_kind` and `beta` are copies: the scores outlive the run. `done` counts the
    pairs scored so far, which are those with the first positions; `unscored` of them were left out by the
    run. `seconds` is the time that workers spent on them.
    """

    __tablename__ = "pair_scorings"
    __table_args__ = (
        UniqueConstraint("dataset_id", "checkpoint_id"),
        Index(None, "status", "id"),
        Index(None, "lease_until"),
    )

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    checkpoint_id: Mapped[int | None] = mapped_column(
        ForeignKey("checkpoints.id", ondelete="SET NULL"), index=True
    )
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    run_name: Mapped[str] = mapped_column(String(120))
    method: Mapped[str] = mapped_column(String(16))
    step: Mapped[int]
    margin_kind: Mapped[MarginKind]
    beta: Mapped[float]
    status: Mapped[PairScoringStatus] = mapped_column(default=PairScoringStatus.QUEUED)
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    unscored: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    finished_at: Mapped[datetime | None]


class PairScore(Base):
    """The score of one pair; log-probabilities are in nats, summed over tokens.

    Of a reward model, `chosen` and `rejected` are rewards. Without a reference its values are null. Of a pair
    that the run leaves out, only `reason` is set.
    """

    __tablename__ = "pair_scores"
    __table_args__ = (Index(None, "scoring_id", "margin", "position"),)

    scoring_id: Mapped[int] = mapped_column(
        ForeignKey("pair_scorings.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    margin: Mapped[float | None]
    chosen: Mapped[float | None]
    rejected: Mapped[float | None]
    reference_chosen: Mapped[float | None]
    reference_rejected: Mapped[float | None]
    chosen_tokens: Mapped[int | None]
    rejected_tokens: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(String(300))
