"""Tables of scored texts: answers and pasted texts with the log-probabilities of their tokens."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store import clock
from app.store.base import Base
from app.store.claims import Leased
from app.store.comparison_models import Prompt
from app.store.enums import ScoringStatus


class ScoredText(Base):
    """A text that a person had scored as the answer to a prompt, by several contenders.

    `contenders` holds what is needed of each to find its weights and to name it later: `name`, `method`,
    `base_model`, `in_4bit` (whether its weights are held in 4 bits; missing in older rows), `run_id`, `step`,
    and `checkpoint_id` and `path` of the checkpoint, null for a base model.
    """

    __tablename__ = "scored_texts"
    __table_args__ = (Index(None, "user_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), index=True)
    text: Mapped[str] = mapped_column(Text)
    contenders: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())

    prompt: Mapped[Prompt] = relationship(lazy="joined", innerjoin=True)


class Scoring(Leased, Base):
    """The tokens of a text with their log-probabilities under a policy and its reference, in nats.

    The text is the generation's, or the scored text's; then `position` is that of the contender. `tokens`
    holds [text, policy, reference, likeliest tokens of the policy, those of the reference], and each of the
    likeliest is [text, log-probability]. `step` is that of the weights, 0 for the reference. `as_sampled`
    tells whether the tokens are those that were sampled.
    """

    __tablename__ = "scorings"
    __table_args__ = (
        UniqueConstraint("scored_text_id", "position"),
        Index(None, "status", "id"),
        Index(None, "lease_until"),
    )

    generation_id: Mapped[int | None] = mapped_column(
        ForeignKey("generations.id", ondelete="CASCADE"), unique=True
    )
    scored_text_id: Mapped[int | None] = mapped_column(ForeignKey("scored_texts.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(default=0)
    status: Mapped[ScoringStatus] = mapped_column(default=ScoringStatus.QUEUED)
    tokens: Mapped[list[Any] | None]
    policy_logp: Mapped[float | None] = mapped_column(Float(53))
    reference_logp: Mapped[float | None] = mapped_column(Float(53))
    step: Mapped[int | None]
    as_sampled: Mapped[bool] = mapped_column(default=True)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
