"""Votes on comparisons."""

from datetime import datetime

from pydantic import Field

from app.rest.types import Given, Name, Shown, Text
from app.store.enums import Choice
from app.store.judging import MAX_REASON_CHARS


class VoteCast(Given):
    """A vote; a second one of the same person takes the place of the first."""

    choice: Name = Field(description="Letter of the best answer, `tie`, or `both bad`.")
    worst: Name = Field("", description="Letter of the worst; needed for the best of more than two.")
    reason: Text = Field("", max_length=MAX_REASON_CHARS, description="Why, in words.")
    seconds: float | None = Field(
        None, ge=0, le=1e6, allow_inf_nan=False, description="How long the person took to decide."
    )


class VoteShown(Shown):
    """A vote: who preferred what to what, and why; null where names are hidden from you."""

    id: int
    comparison_id: int
    conversation_id: int
    user: str
    names_hidden: bool = Field(description="Whether you may still judge the answers blind.")
    choice: Choice | None
    best: str | None = Field(description="Name of the best answer's model.")
    worst: str | None
    best_letter: str | None = Field(description="Letter under which it was shown.")
    worst_letter: str | None
    shown: list[str] | None = Field(description="Names of the models, in the order shown.")
    blind: bool = Field(description="Whether the voter had not seen the names.")
    reason: str | None
    seconds: float | None
    versions: int = Field(description="How often it was cast, changed or withdrawn, this vote included.")
    question: str
    created_at: datetime
    updated_at: datetime
