"""Automatic judges: how they are asked, what they say, and how they agree with people."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.judge_kinds import DEFAULT_TOKENS, MAX_TOKENS
from app.rest.types import Given, Name, Shown, Text
from app.store.enums import JudgeKind, Outcome, VerdictStatus


class JudgeWanted(Given):
    """A judge: the endpoint that is asked, and how; or a scorer."""

    endpoint: Name = Field("", description="Name of a configured endpoint.")
    scorer: Name = Field(
        "",
        description="Instead of an endpoint: length, vader, run:NUMBER of a reward model, a folder, a hub "
        "id, or a scorer of another package.",
    )
    template: Annotated[Text, Field(max_length=20_000)] = Field(
        "",
        description="The question with the placeholders {question}, {answer_a} and {answer_b}; the default "
        "one if empty.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the requests.")
    max_tokens: int = Field(DEFAULT_TOKENS, ge=1, le=MAX_TOKENS, description="Longest reply, in tokens.")


class ShareShown(Shown):
    """A count of verdicts with a property, with Wilson's 95% interval."""

    count: int
    of: int
    rate: float | None
    low: float | None
    high: float | None


class AgreementRateShown(Shown):
    """The share of equal pairs of verdicts. The 95% interval needs 5 prompts."""

    rate: float | None
    low: float | None
    high: float | None
    pairs: int
    prompts: int


class JudgeShown(Shown):
    """A judge and what it has done. Nothing tells which contender wrote which answer."""

    id: int
    campaign_id: int | None = Field(description="The campaign whose answers are judged; null for a run.")
    run_id: int | None = Field(description="The run whose evaluations are judged; null for a campaign.")
    kind: JudgeKind
    name: str
    model: str
    template: str
    seed: int
    max_tokens: int
    created_at: datetime
    verdicts: dict[VerdictStatus, int] = Field(description="Verdicts by state.")
    flips: ShareShown = Field(description="Verdicts whose two orders disagree, which are ties.")
    longer: ShareShown = Field(description="Verdicts for the longer of two answers.")
    replies: int = Field(description="Replies that were asked for this judge; reused ones do not count.")
    cost: float | None = Field(description="What these replies cost; null if not known.")
    failures: list[str]
    with_people: AgreementRateShown = Field(description="A verdict and a person's vote on the same answers.")
    among_people: AgreementRateShown = Field(description="Two people's votes on answers that it has judged.")
    note: str = Field("", description="How to start a worker if none is running; otherwise empty.")


class VerdictBase(Shown):
    """A verdict with the replies to both orders."""

    id: int
    question: str
    status: VerdictStatus
    outcome: Outcome | None = Field(description="Seen from the first answer; null without a verdict.")
    flipped: bool | None = Field(description="Whether the two orders disagree.")
    first_score: float | None = Field(description="A scorer's number for the first answer; null for others.")
    second_score: float | None
    forward: str | None = Field(description="The reply with the first shown as answer A.")
    backward: str | None = Field(description="The reply with the second shown as answer A.")
    error: str | None


class VerdictShown(VerdictBase):
    """A verdict on two answers of a campaign."""

    first: str
    second: str


class SampleVerdictShown(VerdictBase):
    """A verdict on a sample of a run, which is first, and the reference's."""

    step: int
    answer_id: int
