"""Reports of experiments."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.reports.changing import MAX_NOTES_CHARS, MAX_QUESTION_CHARS, MOST_CAMPAIGNS, MOST_RUNS
from app.rest.schemas.board import BoardShown
from app.rest.schemas.campaigns import CampaignShown
from app.rest.schemas.datasets import DatasetShown, SplitCountsShown
from app.rest.schemas.judges import JudgeShown
from app.rest.types import Given, Id, Shown, Text


class ReportWanted(Given):
    """A report of runs and campaigns."""

    run_ids: list[Id] = Field(
        default_factory=list,
        description=f"Up to {MOST_RUNS} runs; without any, those whose answers the campaigns compare.",
    )
    campaign_ids: list[Id] = Field(default_factory=list, description=f"Up to {MOST_CAMPAIGNS} campaigns.")
    question: Text = Field("", description=f"Up to {MAX_QUESTION_CHARS} characters; generated if empty.")
    notes: Text = Field("", description=f"Markdown, up to {MAX_NOTES_CHARS:,} characters.")


class ReportEdit(Given):
    """What to change of a report."""

    question: Text | None = Field(None, description="The new question.")
    notes: Text | None = Field(None, description="The new notes.")


class ReportListed(Shown):
    """A report in a list."""

    id: int
    question: str
    notes: str
    owner: str
    created_at: datetime
    changed_at: datetime
    runs: list[int] = Field(description="Its runs, also deleted ones.")
    campaigns: list[int]


class ColumnShown(Shown):
    """A column of the table."""

    key: str = Field(description="Name of the figure in each run.")
    title: str
    unit: str = Field(description="share: from 0 to 1; nats; or empty.")
    counted: str = Field(description="What `count` counts.")
    does_not_show: str = Field(description="A sentence on how not to read it.")


class FigureShown(Shown):
    """A number of a run with its 95% interval."""

    value: float
    low: float | None = Field(description="Lower bound; null where the interval is unknown.")
    high: float | None
    count: int | None = Field(description="How many things were counted or averaged.")
    step: int | None = Field(description="The step of the evaluation or of the judged checkpoint.")


class RunCostShown(Shown):
    """What a run cost."""

    run_id: int
    seconds: float | None = Field(description="From its first start to its end.")
    device: str | None
    attempts: int
    tokens: int | None = Field(description="Tokens of the pairs that it read.")


class RunReported(Shown):
    """A run of a report. Of a deleted run, name and method are left."""

    id: int
    name: str
    method: str
    deleted: bool
    status: str | None
    step: int | None
    total_steps: int | None
    dataset_id: int | None
    model: str | None
    seed: int | None
    config: dict[str, Any] | None
    figures: dict[str, FigureShown | None] = Field(description="By the key of the column.")
    metrics: dict[str, float | None] = Field(description="The last value of every metric.")
    pairs_left_out: str
    cost: RunCostShown | None


class JudgeReported(JudgeShown):
    """A judge of a campaign."""

    board: BoardShown | None = Field(description="Null while you may still vote, or without a verdict.")


class CampaignCostShown(Shown):
    """What a campaign cost, in the currency of the endpoints' prices."""

    campaign_id: int
    answers: float | None = Field(description="Answers of endpoints; null where unknown, or without any.")
    judges: float | None = Field(description="Replies of judges; null where unknown, or without any.")
    replies: int


class CampaignReported(CampaignShown):
    """A campaign of a report."""

    names_hidden: bool = Field(description="Whether you may still vote in it; it then has no board.")
    board: BoardShown | None
    judges: list[JudgeReported]
    cost: CampaignCostShown


class DatasetReported(DatasetShown):
    """A dataset of a report's runs."""

    pairs: SplitCountsShown


class AnswerReported(Shown):
    """An answer to a sampled prompt."""

    name: str
    method: str
    step: int | None
    text: str
    tokens: int
    complete: bool


class ExchangeReported(Shown):
    """A prompt and the models' answers."""

    prompt: Any = Field(description="Text, or a list of messages.")
    answers: list[AnswerReported]


class SampleReported(Shown):
    """A fixed random sample of answers."""

    campaign_id: int | None = Field(description="Null for the probe prompts of the runs.")
    prompts: int = Field(description="The number of prompts from which they were drawn.")
    exchanges: list[ExchangeReported]


class ReportShown(Shown):
    """A report with the numbers of this moment, as far as you may see them."""

    id: int
    question: str
    notes: str
    owner: str
    created_at: datetime
    changed_at: datetime
    as_of: datetime
    reader: str
    columns: list[ColumnShown]
    about_intervals: str
    runs: list[RunReported]
    campaigns: list[CampaignReported]
    datasets: list[DatasetReported]
    samples: list[SampleReported]
