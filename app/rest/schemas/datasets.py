"""Datasets, their pairs, and the rows that became none."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.imports.service import DEFAULT_HELD_OUT
from app.rest.types import Given, Id, Name, Shown
from app.store.enums import Choice, Split

KINDS = (
    "JSON, JSONL, CSV, Excel, Parquet or Arrow, plain or gzipped; or a zip archive of a folder of them, "
    "such as save_to_disk writes."
)
"""The files that can be uploaded."""


class ScoresShown(Shown):
    """Scores of both answers in the source, held against the pairs."""

    columns: list[str] = Field([], description="The columns compared.")
    compared: int = Field(0, description="Pairs with scores of both answers.")
    equal: int = Field(0, description="Pairs whose answers have the same score.")
    contradicting: int = Field(0, description="Pairs whose rejected answer has the higher score.")


class MeanShown(Shown):
    """The pairs that have a value, and its mean over them."""

    pairs: int = 0
    mean: float = 0.0


class AccountShown(Shown):
    """What the source held beyond the pairs."""

    unused: dict[str, int] = Field({}, description="Columns and message keys not used, with their rows.")
    left_out: dict[str, int] = Field({}, description="Reasons why rows were left out, with their rows.")
    scores: ScoresShown = ScoresShown()
    weights: MeanShown = Field(MeanShown(), description="Pairs with a weight other than 1.")
    margins: MeanShown = Field(MeanShown(), description="Pairs with a margin.")
    remarks: list[str] = Field([], description="How the file was read, if that is not obvious.")


class DatasetShown(Shown):
    """One version of a dataset."""

    id: int
    name: str
    version: int
    rows: int = Field(description="Number of pairs.")
    left_out_count: int = Field(description="Rows of its source that did not become a pair.")
    held_out: float = Field(description="Share of the prompts kept for evaluation.")
    format: str
    source: str
    sha256: str
    account: AccountShown
    created_at: datetime


class LeftOutShown(Shown):
    """A row that became no pair, and why."""

    row: int = Field(description="Its number in the source, from 1.")
    reason: str


class DatasetAdded(DatasetShown):
    """A dataset that was just added."""

    left_out: list[LeftOutShown] = Field(description="The first 100 rows left out.")
    remarks: list[str] = Field(description="How the file was read, if that is not obvious.")


class SplitCountsShown(Shown):
    """How many pairs train, and how many are kept for evaluation."""

    train: int
    held_out: int
    voted: int = Field(
        description="Pairs that no run uses, because votes were cast on their held-out prompts."
    )


class DatasetDetails(DatasetShown):
    """A dataset with the sizes of its splits."""

    splits: SplitCountsShown


class PairShown(Shown):
    """A preference pair."""

    position: int
    row: int = Field(description="Its row in the source, from 1.")
    split: Split
    prompt: str | list[dict[str, Any]] = Field(description="Text, or a list of messages.")
    chosen: str = Field(description="Empty if the row has one answer, which was judged bad.")
    rejected: str = Field(description="Empty if the row has one answer, which was judged good.")
    weight: float = Field(description="How much it counts in training; 1 unless the source says otherwise.")
    margin: float = Field(description="How much better the chosen answer is; 0 unless the source says.")


class Columns(Given):
    """Which columns hold what in other formats: chosen and rejected, or a, b and winner."""

    prompt: Name | None = Field(None, description="Omit it if the answers contain the prompt.")
    system: Name | None = Field(None, description="The system text's column, if there is one.")
    chosen: Name | None = Field(None, description="The better answer's column.")
    rejected: Name | None = Field(None, description="The worse answer's column.")
    a: Name | None = Field(None, description="Answer A's column.")
    b: Name | None = Field(None, description="Answer B's column.")
    winner: Name | None = Field(None, description="The column that names the better answer.")
    a_wins: list[Name] = Field([], max_length=50, description="Its values that mean A, or bounds such as <0.")
    b_wins: list[Name] = Field([], max_length=50, description="Its values that mean B.")


class FromHub(Given):
    """A dataset of the Hugging Face hub."""

    repo_id: Name = Field(description="Such as trl-lib/ultrafeedback_binarized.")
    name: Name = Field("", description="Empty uses the part of the id after the slash.")
    held_out: float = Field(DEFAULT_HELD_OUT, description="Share of the prompts kept for evaluation.")
    split: Name = Field("", description="Split to read; empty selects the training split.")
    columns: Columns | None = None


class FromVotes(Given):
    """A dataset of the pairs that votes make."""

    name: Name
    user: Name | None = Field(None, description="Only this user's votes.")
    choice: Choice | None = Field(None, description="Only votes of this kind.")
    run_id: Id | None = Field(None, description="Only votes on answers of this run.")
    campaign_id: Id | None = Field(None, description="Only votes of this campaign.")
    blind: bool = Field(False, description="Only votes that were cast blind.")
    adjudicated: bool = Field(
        False, description="Adjudicated verdicts of the campaign in place of the votes there."
    )
    whole: bool = Field(False, description="Leave out pairs with an answer that was cut at the length limit.")
    merge: bool = Field(
        False, description="One pair for each comparison, with the weight and margin of its votes."
    )
    bad: bool = Field(
        False, description="The answers of votes for all bad become rows with one answer, for KTO."
    )
