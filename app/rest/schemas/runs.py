"""Training runs and what they leave behind."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from app import run_edits, sweeps
from app.rest.types import Given, Name, Shown, Text
from app.store.enums import EventLevel, GenerationKind, RunStatus
from hypo_engine.config import Method


class Forecast(Given):
    """A run, or several that differ in the method alone: same data, order, seed and steps."""

    method: Name = Field(
        description=f"One of {', '.join(Method)}; two to five with commas between, as dpo,hypo,rloo; or "
        "twins, short for dpo,hypo."
    )
    dataset: Name = Field(description="NAME (its newest version), NAME@VERSION or id.")
    model: Name = Field("", description="demo, a hub id, a folder of the machine that trains, or run:NUMBER.")
    preset: Name | None = Field(None, description="Start from a preset of the launch page.")
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Other options by name (docs/configuration.md lists them); the rest keep their defaults.",
    )
    sweep: dict[str, Annotated[list[Any], Field(min_length=1, max_length=sweeps.MOST)]] = Field(
        default_factory=dict,
        max_length=20,
        description="Several values for some options: a run for each combination of them that its method "
        f"reads, at most {sweeps.MOST}.",
    )
    trials: Annotated[int, Field(ge=1, le=sweeps.MOST)] | None = Field(
        None, description="Draw this many combinations of the sweep at random; null: all."
    )


class Launch(Forecast):
    """A run to queue, or several that differ in the method alone: same data, order, seed and steps."""

    name: Name = Field("", description="Name of the run; generated if empty.")
    judge: Name = Field(
        "",
        description="Judges the samples of every evaluation against the reference's: endpoint:NAME, or a "
        "scorer. Empty: nobody.",
    )


class Clone(Given):
    """What a run launched again shall have that the first one had not."""

    config: dict[str, Any] = Field(default_factory=dict, description="Options to change, by name.")
    name: Name = Field("", description="Name of the run; generated if empty.")


class Edit(Given):
    """What to change about a run; what is left out stays as it is."""

    name: Text | None = Field(None, description=f"At most {run_edits.MAX_NAME} characters on one line.")
    notes: Text | None = Field(
        None, description=f"Markdown, at most {run_edits.MAX_NOTES:,} characters; empty to remove them."
    )
    tags: list[Text] | None = Field(
        None,
        max_length=100,
        description=f"All tags: at most {run_edits.MAX_TAGS}, of {run_edits.MAX_TAG} characters, no commas.",
    )
    archived: bool | None = Field(
        None, description="true hides the run from lists, false shows it again; it works as before."
    )


class DatasetNamed(Shown):
    """The dataset of a run."""

    id: int
    name: str
    version: int


class RunShown(Shown):
    """Where a run stands."""

    id: int
    name: str
    method: str
    status: RunStatus
    step: int
    total_steps: int
    phase: str
    place_in_queue: int | None = Field(
        description="1 for the run that starts next; null when not queued, or while it waits for another run."
    )
    waits_for: int | None = Field(description="The run that must finish before this one starts.")
    dataset: DatasetNamed
    model: str
    seed: int
    twin_group: str | None = Field(description="Equal for runs that were launched together.")
    notes: str = Field(description="What people wrote about the run, in Markdown.")
    tags: list[str]
    archived_at: datetime | None = Field(description="Since when the run is hidden from lists.")
    attempt: int
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    results: dict[str, str] = Field(
        description="Held-out metrics as text, with their count or standard error."
    )
    pairs_left_out: str = Field(description="Which training pairs were not used, and why; empty if all were.")
    metrics: dict[str, float | None] = Field(description="The last value of every metric.")
    config: dict[str, Any]


class RunsQueued(Shown):
    """The runs of a launch, one for each method, and first that of a reward model if it trains one."""

    runs: list[RunShown]
    note: str = Field(description="How to start a worker if none is running; otherwise empty.")


class DiskShown(Shown):
    """The checkpoints that are left when runs have ended."""

    checkpoints: int
    bytes: int
    free_bytes: int | None = Field(description="Bytes that are free; null in an object store.")
    fits: bool


class RunForecastShown(Shown):
    """What one run would take."""

    title: str = Field(description="What tells it from the other runs of the launch.")
    method: Method
    steps: int
    memory_bytes: int | None = Field(description="At the peak, by estimate; null if it is unknown.")
    available_bytes: int | None = Field(description="Null if workers are on other machines or have a GPU.")
    fits: bool = Field(description="Whether the memory is enough, as far as known.")
    unknown: str = Field(description="Why there is no estimate; empty if there is one.")
    disk: DiskShown | None


class ForecastShown(Shown):
    """What a launch would queue; `disk` is that of all runs whose size is known."""

    runs: list[RunForecastShown]
    disk: DiskShown | None


class EventShown(Shown):
    """A line of a run's log."""

    id: int
    at: datetime
    level: EventLevel
    message: str


class SeriesShown(Shown):
    """One metric over the steps of a run."""

    name: str
    steps: list[int]
    values: list[float | None]


class MetricsShown(Shown):
    """Metrics of a run, by name."""

    run_id: int
    series: list[SeriesShown]


class SampleShown(Shown):
    """A text that a run sampled in training; log-probabilities are sums over its tokens, in nats."""

    id: int
    kind: GenerationKind
    step: int | None
    prompt: Any = Field(description="Text, or a list of messages.")
    text: str
    tokens: int
    complete: bool = Field(description="Whether it ended by itself, before the length limit.")
    policy_logp: float | None
    reference_logp: float | None
    score: float | None = Field(description="What the run's reward gave; null without one.")
    seed: int


class CheckpointShown(Shown):
    """Weights that a run kept."""

    id: int
    step: int
    created_at: datetime
    best: bool = Field(description="Whether it is the best by the run's `metric_for_best_model`.")


class PresetShown(Shown):
    """A starting point for a run."""

    name: str
    title: str
    description: str
    values: dict[str, Any]
