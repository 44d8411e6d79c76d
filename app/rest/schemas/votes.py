"""Votes on comparisons."""

from datetime import datetime

from pydantic import Field

from app.rest.types import Given, Name, Shown, Text
from app.store.enums import Choice
from app.store.labels import MAX_REASON_CHARS


class VoteCast(Given):
    """A vote; a second one of the same person takes the place of the first."""

    choice: Name = Field(description="Letter of the best answer, `tie`, or `both bad`.")
    worst: Name = Field("", description="Letter of the worst; needed for the best of more than two.")
    reason: Text = Field("", max_length=MAX_REASON_CHARS, description="Why, in words.")
    seconds: float | None = Field(
        None, ge=0, le=1e6, allow_inf_nan=False, description="How long the person took to decide."
    )


class VoteShown(Shown):
    """A vote: who preferred what to what, and why."""

    id: int
    comparison_id: int
    conversation_id: int
    user: str
    choice: Choice
    best: str | None = Field(description="Name of the best answer's model.")
    worst: str | None
    shown: list[str] = Field(description="Names of the models, in the order shown.")
    blind: bool = Field(description="Whether the voter had not seen the names.")
    reason: str
    seconds: float | None
    question: str
    created_at: datetime
    updated_at: datetime
