"""Scorings of a dataset's pairs, and new versions without some pairs."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.leaving_out import MAX_POSITIONS, MAX_REASON_CHARS
from app.rest.types import Given, Id, Name, Shown, Text
from app.store.enums import MarginKind, PairScoringStatus, Split
from app.store.scored_pairs import Show


class ScoringWanted(Given):
    """A model that is to score a dataset's pairs."""

    run_id: Id = Field(description="The run whose checkpoint scores the pairs.")
    step: int | None = Field(None, ge=0, le=2**31 - 1, description="The checkpoint's step; null: the last.")


class PairScoringShown(Shown):
    """A model that scores a dataset's pairs."""

    id: int
    dataset_id: int
    run_id: int | None = Field(description="Null once the run is deleted; the scores stay.")
    run_name: str
    method: str
    step: int
    margin_kind: MarginKind = Field(
        description="relative: beta times the difference of log-ratios to the reference; per_token: the "
        "difference of mean log-probabilities per token; reward: the difference of rewards."
    )
    beta: float
    status: PairScoringStatus
    total: int
    done: int = Field(description="Pairs scored so far, in the order of the source.")
    unscored: int = Field(description="Pairs among them that the run leaves out.")
    seconds_left: float | None
    error: str
    created_at: datetime


class PairScoreShown(Shown):
    """A pair's score under one model. Of a reward model, the log-probabilities are rewards."""

    scoring_id: int
    margin: float | None
    correct: bool | None = Field(description="Whether the margin is above zero.")
    chosen_logp: float | None
    rejected_logp: float | None
    reference_chosen_logp: float | None
    reference_rejected_logp: float | None
    chosen_tokens: int | None
    rejected_tokens: int | None
    reason: str = Field(description="Why there is no score; empty if there is one.")


class ScoredPairShown(Shown):
    """A pair with its scores."""

    position: int
    row: int = Field(description="Its row in the source, from 1.")
    split: Split
    prompt: str | list[dict[str, Any]] = Field(description="Text, or a list of messages.")
    chosen: str = Field(description="Empty if the row has one answer, which was judged bad.")
    rejected: str = Field(description="Empty if the row has one answer, which was judged good.")
    weight: float = Field(description="How much it counts in training, as the dataset says.")
    margin: float = Field(description="Its margin in the dataset, which no model computed; 0 without.")
    scores: list[PairScoreShown]


class LeakShown(Shown):
    """A training pair whose prompt an evaluation uses."""

    row: int = Field(description="Its row in the source, from 1.")
    position: int
    prompt: str | list[dict[str, Any]] = Field(description="Text, or a list of messages.")


class LeaveOut(Given):
    """Pairs to leave out: rows of the source, positions, all pairs of an order, or those that leak."""

    rows: list[Id] = Field([], max_length=MAX_POSITIONS, description="Rows of the source, from 1.")
    positions: list[int] = Field([], max_length=MAX_POSITIONS, description="Positions, from 0.")
    sort: Show | None = Field(None, description="Instead: all pairs that this order lists.")
    scoring: list[Id] = Field([], max_length=2, description="For sort: the scorings.")
    split: Split | None = Field(None, description="For sort: only one side.")
    search: Text = Field("", max_length=500, description="For sort: only pairs that contain this.")
    leaks: bool = Field(False, description="Instead: training pairs whose prompts an evaluation uses.")
    into: Name = Field("", description="For leaks: the dataset of the evaluation; by default the same.")
    expected: int | None = Field(None, description="For sort: refuse another number of pairs than this.")
    reason: Text = Field("", max_length=MAX_REASON_CHARS, description="Why, for rows and positions.")


class NewVersionShown(Shown):
    """The new version."""

    id: int
    name: str
    version: int
    rows: int
    left_out: int
