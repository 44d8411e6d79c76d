"""Votes on comparisons."""

from datetime import datetime

from pydantic import Field

from app.rest.types import Given, Name, Shown, Text
from app.store.enums import Choice
from app.store.judging import LETTERS, MAX_REASON_CHARS
from app.store.models import Label


class VoteCast(Given):
    """A vote; a second one of the same person takes the place of the first."""

    choice: Name = Field(description="Letter of the best answer, `tie`, or `both bad`.")
    worst: Name = Field("", description="Letter of the worst answer; required with more than two answers.")
    reason: Text = Field("", max_length=MAX_REASON_CHARS, description="The reason, as text.")
    seconds: float | None = Field(
        None, ge=0, le=1e6, allow_inf_nan=False, description="How long the person took to decide."
    )


class VoteStored(Shown):
    """A vote as it was stored; who wrote the answers is read at its own address."""

    id: int
    comparison_id: int
    user: str
    choice: Choice
    best_letter: str | None = Field(description="Letter of the best answer.")
    worst_letter: str | None
    blind: bool = Field(description="Whether the voter had not seen the names.")
    reason: str
    seconds: float | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, label: Label, user: str) -> "VoteStored":
        letters = dict(zip(label.shown, LETTERS, strict=False))
        same = ("id", "comparison_id", "choice", "blind", "reason", "seconds", "created_at", "updated_at")
        return cls(
            user=user,
            best_letter=letters.get(label.best_id),
            worst_letter=letters.get(label.worst_id),
            **{name: getattr(label, name) for name in same},
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
    aspects: dict[str, str] | None = Field(
        description="For each aspect that was asked: letter of the best answer, `tie` or `not applicable`."
    )
    blind: bool = Field(description="Whether the voter had not seen the names.")
    reason: str | None
    seconds: float | None
    versions: int = Field(description="How often it was cast, changed or withdrawn, including this vote.")
    question: str
    created_at: datetime
    updated_at: datetime
