"""Tables of automatic judges: programs that compare answers, apart from people's votes."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.claims import Leased
from app.store.enums import JudgeKind, Outcome, VerdictStatus


class Judge(Base):
    """An automatic judge of a campaign or of a run's evaluations, and how it is asked.

    Either `campaign_id` or `run_id` is set.
    `name` is that of the endpoint, and `model` the model behind it. `template` is the owner's text with
    placeholders for the question and the answers. Of a scorer, `model` is its notation, `name` its start, and
    the other fields are empty.
    """

    __tablename__ = "judges"

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int | None] = mapped_column(
        ForeignKey("campaigns.id", ondelete="CASCADE"), index=True
    )
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    kind: Mapped[JudgeKind]
    name: Mapped[str] = mapped_column(String(100))
    model: Mapped[str] = mapped_column(String(200))
    template: Mapped[str] = mapped_column(Text)
    seed: Mapped[int]
    max_tokens: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class JudgeReply(Base):
    """A judge's reply to one question, stored once by the hash of everything that was sent.

    `judge_id` is the judge for which it was asked and paid; others reuse it. `cost` is in the currency of the
    endpoint's prices; null where a price or a count of tokens is unknown.
    """

    __tablename__ = "judge_replies"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    judge_id: Mapped[int | None] = mapped_column(ForeignKey("judges.id", ondelete="SET NULL"), index=True)
    sent: Mapped[dict[str, Any]]
    text: Mapped[str] = mapped_column(Text)
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    cost: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class JudgeVerdict(Leased, Base):
    """A judge's verdict on two answers to one prompt, asked in both orders or from their scores.

    In a campaign, `source_id` is the comparison that holds the answers, and `first` and `second` are the
    contenders' positions. For a run, `answer_id` is a sample of an evaluation, and `against_id` the
    reference's sample for the same prompt; they are first and second, 0 and 1.

    `outcome` is seen from the first answer. `flipped` tells that the two orders disagree, which is a tie.
    `forward_id` is the reply to the first shown as answer A, and `backward_id` that to the second shown as A.
    The scores are those that a scorer gave.
    """

    __tablename__ = "judge_verdicts"
    __table_args__ = (
        UniqueConstraint("judge_id", "source_id", "first", "second"),
        UniqueConstraint("judge_id", "answer_id"),
        Index(None, "status", "id"),
        Index(None, "lease_until"),
    )

    judge_id: Mapped[int] = mapped_column(ForeignKey("judges.id", ondelete="CASCADE"))
    source_id: Mapped[int | None] = mapped_column(
        ForeignKey("comparisons.id", ondelete="CASCADE"), index=True
    )
    answer_id: Mapped[int | None] = mapped_column(
        ForeignKey("generations.id", ondelete="CASCADE"), index=True
    )
    against_id: Mapped[int | None] = mapped_column(
        ForeignKey("generations.id", ondelete="CASCADE"), index=True
    )
    first: Mapped[int]
    second: Mapped[int]
    status: Mapped[VerdictStatus] = mapped_column(default=VerdictStatus.QUEUED)
    outcome: Mapped[Outcome | None]
    flipped: Mapped[bool | None]
    forward_id: Mapped[int | None] = mapped_column(
        ForeignKey("judge_replies.id", ondelete="SET NULL"), index=True
    )
    backward_id: Mapped[int | None] = mapped_column(
        ForeignKey("judge_replies.id", ondelete="SET NULL"), index=True
    )
    first_score: Mapped[float | None]
    second_score: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
