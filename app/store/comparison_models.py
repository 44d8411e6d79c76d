"""Tables of the compare page and of all generated texts."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store import clock
from app.store.base import Base
from app.store.claims import Leased
from app.store.enums import GenerationKind, GenerationStatus

UNFINISHED = "status IN ('queued', 'running')"
"""Condition for unfinished answers. They are few among many rows, so they have a partial index."""


class Prompt(Base):
    """A prompt, stored once by content: a string or a list of messages."""

    __tablename__ = "prompts"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    content: Mapped[Any]


class Conversation(Base):
    """A side-by-side chat: its contenders and their decoding parameters.

    `opening` holds the messages before the first question, such as a system message; null means none.
    A conversation with a `campaign_id` is a prompt of that campaign.
    """

    __tablename__ = "conversations"
    __table_args__ = (Index(None, "user_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    blind: Mapped[bool] = mapped_column(default=False)
    seed: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    opening: Mapped[list[Any] | None]
    campaign_id: Mapped[int | None] = mapped_column(
        ForeignKey("campaigns.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=clock.now())

    contenders: Mapped[list["Contender"]] = relationship(order_by="Contender.position", lazy="selectin")


class Contender(Base):
    """A model that answers in a conversation: a run's checkpoint, or a base model.

    `method` is `reference` for a base model. For other methods, a null `run_id` means a deleted run.
    `in_4bit` tells whether its frozen weights are held in 4 bits.
    """

    __tablename__ = "contenders"

    conversation_id: Mapped[int] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    base_model: Mapped[str] = mapped_column(String(500))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    checkpoint_id: Mapped[int | None] = mapped_column(
        ForeignKey("checkpoints.id", ondelete="SET NULL"), index=True
    )
    name: Mapped[str] = mapped_column(String(160))
    method: Mapped[str] = mapped_column(String(16))
    in_4bit: Mapped[bool] = mapped_column(default=False, server_default=false())


class Comparison(Leased, Base):
    """One turn of a conversation: a question put to all contenders. Votes refer to comparisons.

    `shown_order` holds the contenders' positions in display order; the first is answer A. `continues_from`
    is the position whose previous answer, with its history, all contenders continue. If it is null, each
    contender continues its own answer.

    A pair of a campaign is a comparison too, with the answers of the comparison `source_id` that
    `shown_order` names. Its `turn` only numbers it. `campaign_id` is that of the conversation.
    """

    __tablename__ = "comparisons"
    __table_args__ = (UniqueConstraint("conversation_id", "turn"), Index(None, "lease_until"))

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    turn: Mapped[int]
    question: Mapped[str] = mapped_column(Text)
    continues_from: Mapped[int | None]
    shown_order: Mapped[list[Any]]
    source_id: Mapped[int | None] = mapped_column(
        ForeignKey("comparisons.id", ondelete="CASCADE"), index=True
    )
    campaign_id: Mapped[int | None] = mapped_column(
        ForeignKey("campaigns.id", ondelete="CASCADE"), index=True
    )
    stop_by: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())

    conversation: Mapped[Conversation] = relationship(lazy="joined", innerjoin=True)

    @property
    def answered_by(self) -> int:
        """Id of the comparison whose generations this one shows."""
        return self.id if self.source_id is None else self.source_id


def _sorted_by(column: str) -> Index:
    """An index to sort by a number that not every generation has."""
    known = sql(f"{column} IS NOT NULL")
    return Index(f"ix_generations_{column}", column, "id", sqlite_where=known, postgresql_where=known)


class Generation(Base):
    """A generated text and its origin: a training sample (run, step) or an answer (comparison).

    Log-probabilities are sums over the text's tokens, in nats. `log_ratio` is the policy's minus the
    reference's, `token_log_ratio` the same per token; both are stored to be sorted by. `score` is what the
    run's reward gave. `token_logps` holds [token text, policy, reference] triples if they were stored. A
    regenerated answer is a new row with a higher `take`; the page shows the last take.

    Triggers keep the words of finished texts (search_schema.py).
    """

    __tablename__ = "generations"
    __table_args__ = (
        Index(None, "run_id", "kind", "step"),
        Index(None, "run_id", "id"),
        Index(None, "kind", "id"),
        Index(None, "tokens", "id"),
        *(_sorted_by(name) for name in ("log_ratio", "token_log_ratio", "score")),
        Index(
            "ix_generations_step",
            "step",
            sqlite_where=sql("step IS NOT NULL"),
            postgresql_where=sql("step IS NOT NULL"),
        ),
        UniqueConstraint("comparison_id", "position", "take"),
        Index(
            "ix_generations_unfinished",
            "comparison_id",
            sqlite_where=sql(UNFINISHED),
            postgresql_where=sql(UNFINISHED),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[GenerationKind]
    status: Mapped[GenerationStatus] = mapped_column(default=GenerationStatus.FINISHED)
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), index=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    step: Mapped[int | None]
    comparison_id: Mapped[int | None] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"))
    position: Mapped[int | None]
    take: Mapped[int] = mapped_column(default=0)
    text: Mapped[str] = mapped_column(Text, default="")
    seed: Mapped[int] = mapped_column(BigInteger)
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    tokens: Mapped[int] = mapped_column(default=0)
    complete: Mapped[bool] = mapped_column(default=True)
    seconds: Mapped[float | None]
    policy_logp: Mapped[float | None] = mapped_column(Float(53))
    reference_logp: Mapped[float | None] = mapped_column(Float(53))
    log_ratio: Mapped[float | None] = mapped_column(Float(53))
    token_log_ratio: Mapped[float | None] = mapped_column(Float(53))
    score: Mapped[float | None] = mapped_column(Float(53))
    token_logps: Mapped[list[Any] | None]
    stop_wished: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())

    prompt: Mapped[Prompt] = relationship(lazy="joined", innerjoin=True)
