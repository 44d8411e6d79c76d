"""Answers token by token, and pasted texts that are scored."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.rest.schemas.comparisons import Message
from app.rest.types import Given, Id, Name, Shown, Text
from app.store.enums import ScoringStatus
from app.store.prompts import MAX_OPENING

Likely = tuple[str, float | None]
"""A token's text with its log-probability in nats."""


class TokenShown(Shown):
    """A token with its log-probabilities in nats; null where one is not finite."""

    text: str = Field(description="What the token adds to the text; the bytes of a part of a character.")
    policy: float | None
    reference: float | None
    policy_top: list[Likely] = Field(description="The likeliest tokens in its place under the policy.")
    reference_top: list[Likely] = Field(description="The same under the reference.")


class SumsShown(Shown):
    """A whole text under one model; null until it is known."""

    logp: float | None = Field(description="Log-probability of the text in nats, its end token included.")
    mean_logp: float | None = Field(description="The same per token.")
    perplexity: float | None


class ScoringShown(Shown):
    """A text under a policy and its reference, the base model."""

    status: ScoringStatus
    error: str | None
    step: int | None = Field(description="Training step of the weights; 0 is the base model.")
    as_sampled: bool = Field(
        description="False if the sampled tokens are unknown and the text was split anew."
    )
    policy: SumsShown
    reference: SumsShown
    log_ratio: float | None = Field(description="Log-probability under the policy minus the reference's.")
    tokens: list[TokenShown]


class AuthorShown(Shown):
    """Who wrote a text: a contender, or a run at a step of its training."""

    name: str
    method: str
    run_id: int | None
    step: int | None


class BesideShown(AuthorShown):
    """Another answer to the same prompt."""

    id: int


class AnswerTokensShown(Shown):
    """An answer, opened token by token."""

    id: int
    kind: str
    prompt_id: int
    prompt: Any
    text: str
    complete: bool
    author: AuthorShown
    comparison_id: int | None
    conversation_id: int | None
    campaign_id: int | None
    scoring: ScoringShown | None = Field(description="Null until somebody has asked for it.")
    stored: list[TokenShown] = Field(
        description="Until it is scored: log-probabilities that were stored when it was written."
    )
    beside: list[BesideShown]
    note: str = Field("", description="How to start a worker if none is running; otherwise empty.")


class TextToScore(Given):
    """A text to score as the answer to a prompt, by runs' last checkpoints and by base models."""

    prompt: Text = Field(description="The question that the text answers.")
    text: Text = Field(description="The text to score.")
    opening: list[Message] = Field(
        default_factory=list, max_length=MAX_OPENING, description="Messages before the question."
    )
    as_text: bool = Field(
        False, description="Whether the prompt is plain text to continue, not a message; without an opening."
    )
    run_ids: list[Id] = Field(default_factory=list, max_length=4, description="The runs that score it.")
    checkpoint_ids: list[Id] = Field(
        default_factory=list, max_length=4, description="Earlier checkpoints that score it."
    )
    model: Name = Field("demo", description="The base model to score with if no run is named.")


class ContenderScoreShown(Shown):
    """What a contender says of the text."""

    name: str
    method: str
    base_model: str
    run_id: int | None
    scoring: ScoringShown


class ScoredTextShown(Shown):
    """A scored text, with its contenders in order."""

    id: int
    prompt: Any
    text: str
    created_at: datetime
    over: bool = Field(description="Whether every scoring is finished or failed.")
    contenders: list[ContenderScoreShown]
    note: str = Field("", description="How to start a worker if none is running; otherwise empty.")


class ScoredTextListed(Shown):
    """A scored text in the list."""

    id: int
    text: str
    contenders: list[str]
    created_at: datetime
