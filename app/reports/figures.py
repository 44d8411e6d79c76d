"""The figures of a report's table: a value with its count and its 95% interval, and what it does not show."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from app.board import wilson
from app.evidence import WinRate, mean_interval
from app.i18n import N_
from hypo_engine.measures import ACCURACY, KL, LOSS, SCORE, Measure

Unit = Literal["share", "nats", ""]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of one run.

    Attributes:
        low: lower bound of the 95% interval; None, as `high`, where it is unknown.
        count: how many things were counted or averaged.
        step: the step at which it was measured, or of the checkpoint that was judged.
    """

    value: float
    low: float | None
    high: float | None
    count: int | None
    step: int | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        key: its name for programs.
        counted: what `count` counts, in the plural.
        does_not_show: one sentence against a wrong reading.
    """

    key: str
    title: str
    unit: Unit
    counted: str
    does_not_show: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A column whose figures a run measures on held-out data."""

    column: Column
    measure: Measure


MEASURED: Final = (
    Measured(
        Column(
            "accuracy",
            N_("Held-out accuracy"),
            "share",
            ACCURACY.counted,
            "The share of held-out pairs in which the chosen answer has the higher reward. It does not show "
            "whether the model's own answers are better.",
        ),
        ACCURACY,
    ),
    Measured(
        Column(
            "loss",
            N_("Held-out loss"),
            "",
            LOSS.counted,
            "The mean loss of held-out pairs. Losses of different methods are on different scales, so they "
            "do not show which method is better.",
        ),
        LOSS,
    ),
    Measured(
        Column(
            "kl",
            N_("Sampled KL"),
            "nats",
            KL.counted,
            "The mean log-ratio of sampled answers to the reference, per answer. It does not show whether "
            "the model departed for better or for worse.",
        ),
        KL,
    ),
    Measured(
        Column(
            "score",
            N_("Score of samples"),
            "",
            SCORE.counted,
            "The mean score of sampled answers by the run's own reward. Runs with different rewards cannot "
            "be compared, and a higher score does not show that people prefer the answers.",
        ),
        SCORE,
    ),
)
"""The columns of what runs measure, in the order of the table."""

BY_VOTES: Final = (
    "The share of votes won against the reference, ties half. It does not show what the model wins against "
    "another opponent, on other prompts or with other voters."
)
BY_JUDGE: Final = (
    "The share of verdicts won against the reference by an automatic judge, ties half. It shows what a judge "
    "prefers, not what people prefer."
)
BY_RUN_JUDGE: Final = (
    "The share of the last evaluation's samples that an automatic judge prefers to the reference's for the "
    "same prompts, ties half. It shows what this judge prefers on these prompts, not what people prefer. "
    "With ties the interval is wider than it needs to be."
)
OF_ALL: Final = (
    "Intervals cover the choice of held-out pairs, samples or prompts. They do not cover another seed of "
    "training: one run of each setting does not show how much the result varies between runs. "
    "Runs with equal data and seed are measured on the same pairs, so a difference may be more certain than "
    "overlapping intervals suggest."
)


def win_rate_of_samples(metric: str, judge: str) -> Measured:
    """The column of a run judge's win rates, which are metrics of the run."""
    title = f"Automatic judge {judge}: win rate of samples"
    column = Column(f"samples-{judge}", title, "share", N_("samples"), BY_RUN_JUDGE)
    return Measured(column, Measure(metric, title, "share", f"{metric}_num", "samples"))


def measured(measure: Measure, metrics: Mapping[str, float], step: int | None) -> Figure | None:
    """A run's last value of a measure; None if it has none."""
    value = metrics.get(measure.metric)
    if value is None or not math.isfinite(value):
        return None
    counted = metrics.get(measure.count)
    count = None if counted is None else round(counted)
    bounds = None
    if count and measure.kind == "share":
        bounds = wilson(value * count, count)
    stderr = metrics.get(measure.stderr)
    if count and measure.kind == "mean" and stderr is not None and math.isfinite(stderr):
        bounds = mean_interval(value, stderr, count)
    low, high = bounds or (None, None)
    return Figure(value, low, high, count, step)


def won(rate: WinRate, step: int | None) -> Figure:
    """A win rate against the reference."""
    return Figure(rate.rate, rate.low, rate.high, rate.games, step)
