"""Export of votes to `trl` or `raw` files, or to the next version of a dataset."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TypeVar

from app import answers
from app.errors import InvalidInput, Refused
from app.exports.raw_votes import RAW_SCHEMA, RawRows
from app.exports.trl_votes import TRL_SCHEMA, Message, TrlPairs
from app.exports.writers import FileType, encoded, write_file
from app.imports.service import AddedDataset, add_pairs, checked_name
from app.store import label_batches, label_queries
from app.store.db import read_session
from app.store.enums import WhyLeftOut
from app.store.label_batches import Verdict
from app.store.label_queries import VoteFilter
from app.store.vote_details import Vote
from hypo_engine.data.formats import Pair

VERDICTS_A_BATCH = 1000
VOTES_A_BATCH = 200


class LabelFormat(StrEnum):
    """`trl` is for training, `raw` for looking into the votes."""

    TRL = "trl"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Exported:
    """A written file: its number of rows, and the numbers of votes left out by reason.

    `cut` counts rows with an answer cut at the length limit, `hidden` counts `raw` rows without names.
    """

    path: Path
    rows: int
    left_out: dict[str, int]
    cut: int = 0
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class TrlCounts:
    """The counts of a `trl` export: its rows, those with a cut answer, and the votes left out by reason."""

    rows: int
    cut: int
    left_out: dict[str, int]


class Export:
    """Votes as a file that is generated piece by piece while it is read.

    The counts are complete once all pieces have been read.
    """

    def __init__(
        self,
        format: LabelFormat | str,
        file_type: FileType | str,
        *,
        only: VoteFilter | None = None,
        viewer: str | None = None,
        leave_out_cut: bool = False,
    ) -> None:
        """Prepare an export.

        Args:
            viewer: the user who receives the file. `raw` rows omit the names that this user may not see yet;
                the names in the other rows are recorded as shown. None is a reader who does not vote.
            leave_out_cut: whether `trl` leaves out pairs with an answer that was cut at the length limit.

        Raises:
            InvalidInput: for an unknown format or file type.
        """
        self.format = _member(LabelFormat, format, "format")
        self.file_type = _member(FileType, file_type, "file_type")
        self._only, self._viewer = only, viewer
        self._pairs, self._raw = TrlPairs(leave_out_cut=leave_out_cut), RawRows()

    @property
    def file_name(self) -> str:
        return f"votes_{self.format.value}.{self.file_type.value}"

    def pieces(self) -> Iterator[bytes]:
        """Yield the file in order. Rows are read in short transactions, so a slow reader keeps none open."""
        if self.format is LabelFormat.TRL:
            return encoded(self._pairs.rows_of(_verdicts(self._only)), self.file_type, TRL_SCHEMA)
        votes = _votes(self._only, self._viewer)
        return encoded(self._raw.rows_of(votes), self.file_type, RAW_SCHEMA)

    def exported(self, path: Path) -> Exported:
        """The counts of the export, once all pieces are written to a file."""
        if self.format is LabelFormat.TRL:
            return Exported(path, self._pairs.rows, self._pairs.counted, self._pairs.cut)
        none_left_out = {reason.value: 0 for reason in WhyLeftOut}
        return Exported(path, self._raw.rows, none_left_out, hidden=self._raw.hidden)


def _verdicts(only: VoteFilter | None) -> Iterator[Verdict]:
    last = 0
    while True:
        with read_session() as session:
            found = label_batches.verdicts_after(last, session=session, only=only, limit=VERDICTS_A_BATCH)
        yield from found
        if not found:
            return
        last = found[-1].label_id


def _votes(only: VoteFilter | None, viewer: str | None) -> Iterator[Vote]:
    """Yield all votes, oldest first. The names of a batch are recorded as shown before it is yielded."""
    last = 0
    while True:
        with read_session() as session:
            found = label_batches.after(last, session=session, only=only, viewer=viewer, limit=VOTES_A_BATCH)
        if viewer is not None:
            answers.record_shown(found, user=viewer)
        yield from found
        if not found:
            return
        last = found[-1].label.id


def export_labels(
    format: LabelFormat | str,
    file_type: FileType | str,
    *,
    folder: Path,
    only: VoteFilter | None = None,
    viewer: str | None = None,
    leave_out_cut: bool = False,
) -> Exported:
    """Write the votes to a new file in a folder. The other arguments are those of `Export`.

    Raises:
        InvalidInput: for an unknown format or file type.
    """
    export = Export(format, file_type, only=only, viewer=viewer, leave_out_cut=leave_out_cut)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / export.file_name
    write_file(path, export.pieces())
    return export.exported(path)


def count_trl(*, only: VoteFilter | None = None, leave_out_cut: bool = False) -> TrlCounts:
    """The counts that a `trl` export would have now."""
    with read_session() as session:
        found = label_queries.count_left_out(session=session, only=only)
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

    Their prompts are removed from the held-out pairs of every dataset, so no later evaluation uses a prompt
    that a model was trained on.

    Raises:
        InvalidInput: for an invalid name.
        Refused: when no vote becomes a pair.
    """
    checked_name(name)
    found = TrlPairs(leave_out_cut=leave_out_cut)
    rows = found.rows_of(_verdicts(only))
    first = next(rows, None)
    if first is None and found.left_out[WhyLeftOut.CUT]:
        raise Refused(
            "Every pair from the votes has an answer that was cut at the length limit. Include "
            "pairs with cut answers, or ask again with room for longer answers."
        )
    if first is None:
        raise Refused("No vote prefers one answer to another yet; vote for a better answer first.")
    pairs = (
        Pair(row["prompt"], _said(row["chosen"]), _said(row["rejected"])) for row in chain([first], rows)
    )
    return add_pairs(pairs=pairs, name=name, source="votes", format="votes", held_out=0.0)


def _said(messages: list[Message]) -> str:
    return messages[0]["content"]


_Kind = TypeVar("_Kind", bound=StrEnum)


def _member(kind: type[_Kind], value: str, field: str) -> _Kind:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise InvalidInput(f"{field} must be one of {known}, not {value!r}.", field=field) from None
