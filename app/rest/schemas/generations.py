"""Generated texts, wherever they were made."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.rest.types import Given, Id, Shown
from app.store.enums import GenerationKind, GenerationStatus
from app.store.generation_filter import GenerationOrigin


class GenerationShown(Shown):
    """A generated text and its origin. Log-probabilities are sums over its tokens, in nats.

    Fields that would tell who wrote it are null while the names are hidden from you (`names_hidden`).
    """

    id: int
    kind: GenerationKind
    origin: GenerationOrigin
    prompt_id: int
    prompt: Any = Field(description="Text, or a list of messages.")
    text: str
    status: Literal[GenerationStatus.FINISHED, GenerationStatus.STOPPED]
    complete: bool = Field(description="Whether it ended by itself, before the length limit.")
    seed: int
    names_hidden: bool
    run_id: int | None = Field(description="The run that sampled it, or whose checkpoint answered.")
    step: int | None = Field(description="Training step of a sample; null for an answer.")
    name: str | None
    method: str | None
    checkpoint_id: int | None
    tokens: int | None
    seconds: float | None
    policy_logp: float | None
    reference_logp: float | None
    log_ratio: float | None = Field(
        description="policy_logp - reference_logp: this text's estimate of the sequence's KL, in nats."
    )
    token_log_ratio: float | None = Field(description="log_ratio per token.")
    score: float | None = Field(description="What the run's reward gave; null without one.")
    parameters: dict[str, Any] | None = Field(description="Decoding parameters.")
    comparison_id: int | None
    conversation_id: int | None
    campaign_id: int | None
    created_at: datetime


class CompareGenerations(Given):
    """Two answers to the same prompt."""

    generations: list[Id] = Field(min_length=2, max_length=2, description="Ids of the two answers.")
