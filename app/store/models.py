"""The tables. Times are UTC; JSON columns hold plain values only."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store import clock
from app.store.access_models import ApiToken, IdempotentCall, LoginSession
from app.store.base import Base, UTCDateTime, utcnow
from app.store.claims import Leased
from app.store.enums import (
    Choice,
    EventLevel,
    GenerationKind,
    GenerationStatus,
    RunStatus,
    RunWish,
    Split,
    WhyLeftOut,
)
from app.store.tally_models import Answerer, LabelPair
from app.store.vote_models import LabelVersion, NamesSeen
from app.store.worker_models import Worker

UNFINISHED = "status IN ('queued', 'running')"
"""Answers still to be written: a handful among many rows, so they have an index of their own."""


_TALLY = ("blind", "first_side", "longer", "left_out", "cut", "open", "comparison_id")
"""All that adding up votes reads: it stays within the index."""


class User(Base):
    """A person who votes. Without a login there is one, named `local`."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class Dataset(Base):
    """One immutable version of a named set of pairs.

    `account` says what the source held beyond them (`hypo_engine.data.account`); it is empty where nobody
    counted.
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
    account: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    deleted_at: Mapped[datetime | None]


class DatasetPair(Base):
    """One preference pair. `prompt` is a string, or a list of messages; `row` counts in the source from 1."""

    __tablename__ = "dataset_pairs"
    __table_args__ = (Index(None, "dataset_id", "split", "position"),)

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    row: Mapped[int] = mapped_column(BigInteger)
    split: Mapped[Split]
    prompt: Mapped[Any]
    chosen: Mapped[str] = mapped_column(Text)
    rejected: Mapped[str] = mapped_column(Text)


class DatasetLeftOut(Base):
    """A row of a dataset's source that became no pair, and why."""

    __tablename__ = "dataset_left_out"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    row: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(300))


class VotedPrompt(Base):
    """A prompt whose votes became training pairs; no dataset holds it out for evaluation any more.

    `sha256` is `hypo_engine.data.formats.prompt_key`.
    """

    __tablename__ = "voted_prompts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=clock.now())


class Run(Leased, Base):
    """One training run. The truth about it: messages carry only its id, which is never used twice."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "status", "id"),
        Index(None, "finished_at"),
        Index(
            "ix_runs_deleted",
            "id",
            sqlite_where=sql("deleted_at IS NOT NULL"),
            postgresql_where=sql("deleted_at IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    name: Mapped[str] = mapped_column(String(120))
    method: Mapped[str] = mapped_column(String(16))
    status: Mapped[RunStatus] = mapped_column(default=RunStatus.QUEUED)
    wish: Mapped[RunWish] = mapped_column(default=RunWish.NONE)
    cancel_by: Mapped[datetime | None]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    base_model: Mapped[str] = mapped_column(String(500))
    config: Mapped[dict[str, Any]]
    seed: Mapped[int]
    twin_group: Mapped[str | None] = mapped_column(String(36), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)

    last_write: Mapped[int] = mapped_column(default=0, server_default="0")
    device: Mapped[str | None] = mapped_column(String(100))

    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int] = mapped_column(default=0)
    phase: Mapped[str] = mapped_column(String(80), default="")
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)

    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    started_at: Mapped[datetime | None]
    timed_from: Mapped[datetime | None]
    timed_from_step: Mapped[int] = mapped_column(default=0)
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship(lazy="joined", innerjoin=True)


class RunEvent(Base):
    """A line of a run's log."""

    __tablename__ = "run_events"
    __table_args__ = (Index(None, "run_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=clock.now())
    level: Mapped[EventLevel] = mapped_column(default=EventLevel.INFO)
    message: Mapped[str] = mapped_column(Text)


class Metric(Base):
    """One number measured at one step; taking a run up again overwrites the steps done twice."""

    __tablename__ = "metrics"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Float(53))
    at: Mapped[datetime] = mapped_column(default=clock.now())


class Checkpoint(Base):
    """A complete set of weights of a run; `path` is relative to the artifacts' root.

    A run can go on from one that is `resumable`: the others have lost their optimiser's state.
    """

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("run_id", "step"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    step: Mapped[int]
    path: Mapped[str] = mapped_column(String(500))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    resumable: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class Prompt(Base):
    """A prompt that was answered, kept once: a string, or a list of messages."""

    __tablename__ = "prompts"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    content: Mapped[Any]


class Conversation(Base):
    """A side-by-side chat: who answers, and how they decode.

    `opening` holds the messages before the first question, such as a system message; null is none.
    """

    __tablename__ = "conversations"
    __table_args__ = (Index(None, "user_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    blind: Mapped[bool] = mapped_column(default=False)
    seed: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    opening: Mapped[list[Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())

    contenders: Mapped[list["Contender"]] = relationship(order_by="Contender.position", lazy="selectin")


class Contender(Base):
    """One answerer of a conversation: a run's checkpoint, or the reference where `run_id` is null."""

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


class Comparison(Leased, Base):
    """One question put to all contenders of a conversation: a turn. Votes are on comparisons.

    `shown_order` holds the contenders' positions in the order in which their answers are shown: the first is
    answer A. `continues_from` is the position whose earlier answers all contenders see as the conversation
    so far; null lets each contender continue its own.
    """

    __tablename__ = "comparisons"
    __table_args__ = (UniqueConstraint("conversation_id", "turn"), Index(None, "lease_until"))

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    turn: Mapped[int]
    question: Mapped[str] = mapped_column(Text)
    continues_from: Mapped[int | None]
    shown_order: Mapped[list[Any]]
    stop_by: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())

    conversation: Mapped[Conversation] = relationship(lazy="joined", innerjoin=True)


class Generation(Base):
    """A text a model wrote, with all that made it: in training (run, step) or as an answer (comparison).

    Log-probabilities are sums over the text's tokens, in nats. `token_logps` holds
    [token text, policy, reference] triples where they were kept. A regenerated answer is a new row with
    a higher `take`; the page shows the last.
    """

    __tablename__ = "generations"
    __table_args__ = (
        Index(None, "run_id", "kind", "step"),
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
    token_logps: Mapped[list[Any] | None]
    stop_wished: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())

    prompt: Mapped[Prompt] = relationship(lazy="joined", innerjoin=True)


class Label(Base):
    """A person's vote on a comparison.

    For BEST, `best` and `worst` are generations; `shown` is the order in which the generations stood. What
    a vote counts for lies beside it, so that pages add up instead of reading answers: see tallies.py.
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


__all__ = [
    "Answerer",
    "ApiToken",
    "Base",
    "Checkpoint",
    "Comparison",
    "Contender",
    "Conversation",
    "Dataset",
    "DatasetLeftOut",
    "DatasetPair",
    "Generation",
    "IdempotentCall",
    "Label",
    "LabelPair",
    "LabelVersion",
    "LoginSession",
    "Metric",
    "NamesSeen",
    "Prompt",
    "Run",
    "RunEvent",
    "UTCDateTime",
    "User",
    "VotedPrompt",
    "Worker",
    "utcnow",
]
