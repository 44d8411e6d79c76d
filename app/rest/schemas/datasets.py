"""Datasets, their pairs, and the rows that became none."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.imports.service import DEFAULT_HELD_OUT
from app.rest.types import Given, Id, Name, Shown
from app.store.enums import Choice, Split


class DatasetShown(Shown):
    """One version of a dataset."""

    id: int
    name: str
    version: int
    rows: int = Field(description="How many pairs it has.")
    left_out_count: int = Field(description="How many rows of its source became no pair.")
    held_out: float = Field(description="Share of the prompts kept for evaluation.")
    format: str
    source: str
    sha256: str
    created_at: datetime


class LeftOutShown(Shown):
    """A row that became no pair, and why."""

    row: int = Field(description="Its number in the source, from 1.")
    reason: str


class DatasetAdded(DatasetShown):
    """A dataset that was just added."""

    left_out: list[LeftOutShown] = Field(description="The first 100 rows left out.")
    remarks: list[str] = Field(description="How the file was read, where that is not plain.")


class SplitCountsShown(Shown):
    """How many pairs train, and how many are kept for evaluation."""

    train: int
    held_out: int


class DatasetDetails(DatasetShown):
    """A dataset with the sizes of its splits."""

    splits: SplitCountsShown


class PairShown(Shown):
    """A preference pair."""

    position: int
    row: int = Field(description="Its row in the source, from 1.")
    split: Split
    prompt: str | list[dict[str, Any]] = Field(description="Text, or a list of messages.")
    chosen: str
    rejected: str


class Columns(Given):
    """Which columns hold what, for a file whose format is not recognised."""

    prompt: Name | None = Field(None, description="Left out where the answers hold the prompt.")
    chosen: Name
    rejected: Name


class FromHub(Given):
    """A dataset of the Hugging Face hub."""

    repo_id: Name = Field(description="Such as trl-lib/ultrafeedback_binarized.")
    name: Name = Field("", description="The part of the id after the slash where empty.")
    held_out: float = Field(DEFAULT_HELD_OUT, description="Share of the prompts kept for evaluation.")
    split: Name = Field("", description="Which split; empty is the training split.")
    columns: Columns | None = None


class FromVotes(Given):
    """A dataset of the pairs that votes make."""

    name: Name
    user: Name | None = Field(None, description="Only this person's votes.")
    choice: Choice | None = Field(None, description="Only votes of this kind.")
    run_id: Id | None = Field(None, description="Only votes on answers of this run.")
