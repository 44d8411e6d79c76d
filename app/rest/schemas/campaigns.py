"""Campaigns: prompts that several models answer ahead of time, and that people judge blind."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from app.given_answers import MAX_ANSWER_CHARS, MAX_ROWS
from app.rest.schemas.comparisons import Message
from app.rest.types import Given, Id, Name, Shown, Text
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus
from app.store.prompts import MAX_OPENING

MOST_PROMPTS = 1000

Messages = Annotated[
    list[Message],
    Field(
        min_length=1,
        max_length=MAX_OPENING + 1,
        description="A conversation that ends with the user's question.",
    ),
]


def _kind(prompt: Any) -> str:
    return "text" if isinstance(prompt, str) else "messages"


Prompt = Annotated[
    Annotated[Text, Tag("text")] | Annotated[Messages, Tag("messages")],
    Discriminator(_kind),
]

Count = Annotated[int, Field(ge=1, le=MOST_PROMPTS)]
VotesWanted = Annotated[int, Field(ge=1, le=50)]
Aspects = Annotated[list[Annotated[Text, Field(max_length=30)]], Field(max_length=5)]
Share = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]
Voters = Annotated[list[Name], Field(max_length=1000)]


class AnswerRow(Given):
    """An answer that was written elsewhere."""

    prompt: Prompt
    answer: Text = Field(max_length=MAX_ANSWER_CHARS)


class AnswersGiven(Given):
    """A contender whose answers were written elsewhere."""

    name: Annotated[Text, Field(min_length=1, max_length=160)] = Field(description="The contender's name.")
    rows: list[AnswerRow] = Field(
        min_length=1,
        max_length=MAX_ROWS,
        description="Its answers; those to the same prompt are its samples.",
    )


class CampaignWanted(Given):
    """A campaign: who answers which prompts, and how people judge the answers."""

    name: Text = Field("", max_length=160, description="Name of the campaign; generated if empty.")
    run_ids: list[Id] = Field(
        default_factory=list, max_length=4, description="Runs whose last checkpoints answer."
    )
    checkpoint_ids: list[Id] = Field(
        default_factory=list, max_length=4, description="Earlier checkpoints of runs that answer as well."
    )
    include_reference: bool = Field(True, description="Whether the base model of the runs answers as well.")
    model: Name | None = Field(None, description="One more base model that answers.")
    endpoints: list[Name] = Field(
        default_factory=list, max_length=4, description="Names of configured endpoints that answer."
    )
    prompts: list[Prompt] = Field(
        default_factory=list,
        max_length=MOST_PROMPTS,
        description="The prompts: texts, or lists of messages that end with a question.",
    )
    dataset_id: Id | None = Field(
        None, description="The dataset whose held-out prompts are asked, instead of `prompts`."
    )
    count: Count = Field(50, description="How many prompts of the dataset are asked.")
    answers: list[AnswersGiven] = Field(
        default_factory=list,
        max_length=4,
        description="Contenders whose answers were written elsewhere. Without prompts and dataset_id, the "
        "prompts of the first one are asked.",
    )
    only_answered: bool = Field(
        False, description="Leave out the prompts that `answers` do not answer, instead of refusing them."
    )
    samples: int = Field(
        1, ge=1, le=16, description="How often each prompt is asked, each time with another seed."
    )
    max_new_tokens: int = Field(128, ge=1, le=4096, description="Longest answer, in tokens.")
    temperature: float = Field(0.7, ge=0, le=5, description="0 always takes the most likely token.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Sample from the likeliest tokens that reach this probability."
    )
    seed: int | None = Field(None, ge=0, lt=2**31, description="Random seed; null picks one.")
    votes_wanted: VotesWanted = Field(1, description="How many people judge each comparison.")
    form: CampaignForm = Field(
        CampaignForm.PAIRS,
        description="pairs: two answers at a time; best_worst: the best and the worst of all answers.",
    )
    order: CampaignOrder = Field(
        CampaignOrder.INFORMATIVE,
        description="informative: the pair that a vote tells most about comes next; or in_order.",
    )
    guidelines: Text = Field("", description="What voters should look for, in Markdown.")
    ask_reason: bool = Field(False, description="Whether voters are asked for a reason.")
    voters: Voters = Field(default_factory=list, description="Who may vote; empty means everybody.")
    aspects: Aspects = Field(
        default_factory=list,
        description="What voters are asked besides the better answer, such as helpful or harmless.",
    )
    adjudicators: Voters = Field(
        default_factory=list, description="Who may decide disagreements, besides the owner."
    )
    repeat_share: Share = Field(
        0.0, description="Repeats: 0.1 shows a person one comparison again for every ten."
    )
    check_share: Share = Field(
        0.0, description="Attention checks: 0.1 adds one with a known right answer for every ten."
    )


class CampaignEdit(Given):
    """Changes of a campaign. What is null stays as it is, and no vote is lost."""

    name: Annotated[Text, Field(max_length=160)] | None = None
    guidelines: Text | None = None
    ask_reason: bool | None = None
    voters: Voters | None = Field(None, description="Who may vote; an empty list means everybody.")
    votes_wanted: VotesWanted | None = Field(
        None, description="How many people judge each comparison; fewer delete no votes."
    )
    aspects: Aspects | None = Field(
        None, description="What voters are asked besides; once there are votes, names can only be added."
    )
    adjudicators: Voters | None = Field(None, description="Who may decide disagreements, besides you.")
    repeat_share: Share | None = Field(None, description="Repeats per comparison, from here on.")
    check_share: Share | None = Field(None, description="Attention checks per comparison, from here on.")
    status: CampaignStatus | None = Field(
        None, description="paused offers no comparisons for now; closed is final."
    )


class MorePrompts(Given):
    """More prompts for a campaign: its contenders answer them with its decoding parameters."""

    prompts: list[Prompt] = Field(
        default_factory=list, max_length=MOST_PROMPTS, description="As in POST /campaigns."
    )
    dataset_id: Id | None = Field(
        None, description="The dataset whose held-out prompts are asked, instead of `prompts`."
    )
    count: Count = Field(50, description="How many prompts of the dataset are asked.")


class CampaignContender(Shown):
    """A model that answers in a campaign."""

    name: str
    method: str
    base_model: str
    run_id: int | None
    checkpoint_id: int | None


class TaskCounts(Shown):
    """Comparisons by state."""

    waiting: int = Field(description="Their answers are still being written.")
    ready: int = Field(description="They are judged by people.")
    identical: int = Field(description="All answers are equal, so that no vote is needed.")
    failed: int = Field(description="An answer failed, so that they cannot be judged.")


class PersonShown(Shown):
    """What one person did in a campaign."""

    name: str
    votes: int
    skipped: int
    median_seconds: float | None = Field(description="Median time of a vote; null without votes.")


class PairShown(Shown):
    """Votes on the comparisons of two contenders."""

    first: str = Field(description="Empty if all answers are judged together, as `second`.")
    second: str
    votes: int
    wanted: int


class ProgressShown(Shown):
    """How far a campaign is."""

    prompts: int
    answers: int
    answered: int = Field(description="Answers that are over, failed ones included.")
    failed_answers: int
    seconds_left: float | None = Field(description="Time until all answers are written; null if not known.")
    tasks: TaskCounts
    votes: int
    votes_wanted: int = Field(description="Votes that the comparisons need in total.")
    people: list[PersonShown]
    pairs: list[PairShown]
    failures: list[str] = Field(description="Why answers failed; at most five different sentences.")
    requests: int = Field(description="Answers that endpoints have yet to write.")
    cost: float | None = Field(
        description="What the endpoints' answers cost, in the currency of their prices; null if not known."
    )


class CampaignShown(Shown):
    """A campaign and its progress. Nothing tells which contender wrote which answer."""

    id: int
    name: str
    owner: str
    status: CampaignStatus
    form: CampaignForm
    order: CampaignOrder
    votes_wanted: int = Field(description="How many people judge each comparison.")
    samples: int
    seed: int
    parameters: dict[str, float]
    guidelines: str
    ask_reason: bool
    voters: list[str]
    aspects: list[str] = Field(description="What voters are asked besides the better answer.")
    adjudicators: list[str] = Field(description="Who may decide disagreements, besides the owner.")
    repeat_share: float = Field(description="Repeats per ordinary comparison of a person.")
    check_share: float = Field(description="Attention checks per ordinary comparison of a person.")
    created_at: datetime
    contenders: list[CampaignContender]
    progress: ProgressShown
    note: str = Field("", description="How to start a worker if none is running; otherwise empty.")
