"""Votes on their way out: as `trl` or `raw` files, and as the next version of a dataset."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from app.errors import InvalidInput, Refused
from app.exports.raw_votes import RAW_SCHEMA, RawRows
from app.exports.trl_votes import TRL_SCHEMA, Message, TrlPairs
from app.exports.writers import FileType, write_rows
from app.imports.service import AddedDataset, add_pairs, checked_name
from app.store import labels, names, voted_prompts
from app.store.db import read_session, write_session
from app.store.enums import WhyLeftOut
from app.store.labels import VoteFilter
from hypo_engine.formats import Pair, prompt_key


class LabelFormat(StrEnum):
    """`trl` is for training, `raw` for looking into the votes."""

    TRL = "trl"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Exported:
    """A written file: its rows, and how many votes were left out, by reason.

    `cut` rows hold an answer that was cut at the length limit; `hidden` rows, of `raw`, tell no names.
    """

    path: Path
    rows: int
    left_out: dict[str, int]
    cut: int = 0
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class TrlCounts:
    """What a `trl` export would hold: its rows, those with a cut answer, and votes left out, by reason."""

    rows: int
    cut: int
    left_out: dict[str, int]


def export_labels(
    format: LabelFormat | str,
    file_type: FileType | str,
    *,
    folder: Path,
    only: VoteFilter | None = None,
    viewer: str | None = None,
    leave_out_cut: bool = False,
) -> Exported:
    """Write the votes to a new file in a folder.

    Args:
        viewer: who gets the file. `raw` rows of votes whose names this person may not see yet tell no names;
            that the others' names were shown is recorded. None is nobody who votes.
        leave_out_cut: leave pairs with an answer that was cut at the length limit out of `trl`.

    Raises:
        InvalidInput: for a format or file type that does not exist.
    """
    chosen_format, chosen_type = (
        _member(LabelFormat, format, "format"),
        _member(FileType, file_type, "file_type"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"votes_{chosen_format.value}.{chosen_type.value}"
    if chosen_format is LabelFormat.TRL:
        pairs = TrlPairs(leave_out_cut=leave_out_cut)
        with read_session() as session:
            votes = labels.stream(session=session, only=only)
            rows = write_rows(path, pairs.rows_of(votes), chosen_type, TRL_SCHEMA)
        return Exported(path, rows, pairs.counted, pairs.cut)
    told = RawRows()
    with read_session() as session:
        votes = labels.stream(session=session, only=only, viewer=viewer)
        rows = write_rows(path, told.rows_of(votes), chosen_type, RAW_SCHEMA)
    if viewer is not None:
        _record_names(told.named, viewer)
    return Exported(path, rows, {reason.value: 0 for reason in WhyLeftOut}, hidden=told.hidden)


def _record_names(comparison_ids: set[int], viewer: str) -> None:
    """Remember that a person gets the names of comparisons; in short transactions, for they may be many."""
    with read_session() as session:
        known = names.seen_among(comparison_ids, viewer, session=session)
    fresh = sorted(comparison_ids - known)
    for start in range(0, len(fresh), names.BATCH):
        with write_session() as session:
            names.record(fresh[start : start + names.BATCH], viewer, session=session)


def count_trl(*, only: VoteFilter | None = None, leave_out_cut: bool = False) -> TrlCounts:
    """What a `trl` export would hold now."""
    with read_session() as session:
        found = labels.count_left_out(session=session, only=only)
    whole, cut = found.get((None, False), 0), found.get((None, True), 0)
    left_out = dict.fromkeys((reason.value for reason in WhyLeftOut), 0)
    for (reason, _), number in found.items():
        if reason is not None:
            left_out[reason.value] += number
    if leave_out_cut:
        return TrlCounts(whole, 0, {**left_out, WhyLeftOut.CUT.value: cut})
    return TrlCounts(whole + cut, cut, left_out)


def use_as_dataset(name: str, *, only: VoteFilter | None = None, leave_out_cut: bool = False) -> AddedDataset:
    """Store the pairs of a `trl` export as the next version of a dataset, all of them for training.

    Their prompts leave the held-out pairs of every dataset first, so that no later evaluation asks what a
    model was trained on.

    Raises:
        InvalidInput: for a bad name.
        Refused: when no vote becomes a pair.
    """
    checked_name(name)
    with read_session() as reading:
        found = TrlPairs(leave_out_cut=leave_out_cut).rows_of(labels.stream(session=reading, only=only))
        keys = {prompt_key(row["prompt"]) for row in found}
    if not keys:
        raise Refused("No vote prefers one answer to another yet; vote for a better answer first.")
    _take_out_of_evaluation(keys)
    with read_session() as reading, write_session() as session:
        rows = TrlPairs(leave_out_cut=leave_out_cut).rows_of(labels.stream(session=reading, only=only))
        pairs = (Pair(row["prompt"], _said(row["chosen"]), _said(row["rejected"])) for row in rows)
        return add_pairs(
            session=session, pairs=pairs, name=name, source="votes", format="votes", held_out=0.0
        )


def _take_out_of_evaluation(keys: set[str]) -> None:
    """Remember the prompts first: a dataset that is added meanwhile then trains on them as well."""
    with write_session() as session:
        voted_prompts.keep(keys, session=session)
    with read_session() as reading:
        held_out = voted_prompts.held_out_pairs_of(keys, session=reading)
    with write_session() as session:
        voted_prompts.take_out_of_evaluation(held_out, session=session)


def _said(messages: list[Message]) -> str:
    return messages[0]["content"]


_Kind = TypeVar("_Kind", bound=StrEnum)


def _member(kind: type[_Kind], value: str, field: str) -> _Kind:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise InvalidInput(f"{field} must be one of {known}, not {value!r}.", field=field) from None
