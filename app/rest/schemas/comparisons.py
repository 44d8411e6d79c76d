"""Questions put to several models at once, and their answers."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from app.rest.types import Given, Id, Name, Shown, Text
from app.store.enums import GenerationStatus
from app.store.prompts import MAX_OPENING


class Message(Given):
    """A message that stands before a question."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text


class Ask(Given):
    """A question to the last checkpoints of runs, and to the reference that they started from."""

    prompt: Text = Field(description="The question.")
    run_ids: list[Id] = Field(
        default_factory=list,
        max_length=4,
        description="The runs that answer; at most four contenders with the reference.",
    )
    include_reference: bool = Field(True, description="Whether the base model answers as well.")
    model: Name = Field("demo", description="The base model to ask if no run is named.")
    opening: list[Message] = Field(
        default_factory=list,
        max_length=MAX_OPENING,
        description="Messages before the question, such as a system message and earlier turns.",
    )
    blind: bool = Field(
        True,
        description="Whether each question hides the names until your vote and shuffles the order.",
    )
    max_new_tokens: int = Field(128, ge=1, le=4096, description="Longest answer, in tokens.")
    temperature: float = Field(0.7, ge=0, le=5, description="0 always takes the most likely token.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Sample from the likeliest tokens that reach this probability."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, description="Random seed, the same for all answers; null picks one."
    )


class FollowUp(Given):
    """The next question of a conversation."""

    prompt: Text
    continues_from: Annotated[str, Field(pattern="^[A-D]$")] | None = Field(
        None,
        description="Letter of the answer that all contenders continue; null lets each continue its own.",
    )


class AnswerShown(Shown):
    """One model's answer, as far as it is written; names and numbers are null while they are hidden."""

    letter: str
    name: str | None
    method: str | None
    run_id: int | None
    status: GenerationStatus
    waiting: str | None = Field(description="What a queued answer waits for; null for others.")
    complete: bool | None = Field(description="False if the length limit cut the answer; null until it ends.")
    text: str
    tokens: int | None
    seconds: float | None
    policy_logp: float | None
    reference_logp: float | None
    seed: int
    error: str | None


class ComparisonShown(Shown):
    """A question's answers as they stand, in the order shown."""

    conversation_id: int
    comparison_id: int
    over: bool = Field(description="Whether all answers are finished, stopped or failed.")
    names_hidden: bool = Field(description="Whether you may not see yet who answered.")
    votable: bool
    not_votable: str | None = Field(description="Why no vote can be cast now; null when one can.")
    answers: list[AnswerShown]
    note: str = Field("", description="How to start a worker if none is running; otherwise empty.")


class HeldOutShown(Shown):
    """A prompt as it is asked: the messages before the question, and the question."""

    opening: list[dict[str, str]]
    prompt: str


class ConversationShown(Shown):
    """A conversation: its questions, oldest first."""

    id: int
    blind: bool
    created_at: datetime
    comparison_ids: list[int]
