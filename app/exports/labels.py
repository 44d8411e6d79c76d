"""Export of votes to files, or to the next version of a dataset."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from zipfile import ZIP_DEFLATED, ZipFile

from app.errors import InvalidInput, Refused
from app.exports.bad_answers import bad_answers
from app.exports.counts import Counts
from app.exports.layouts import LabelFormat, layout_of
from app.exports.manifest import manifest
from app.exports.options import DEFAULTS, Options
from app.exports.trl_votes import Message
from app.exports.writers import FileType, encoded, write_file
from app.imports.service import AddedDataset, add_pairs, checked_name
from app.store import adjudications, label_queries
from app.store.db import read_session
from app.store.enums import WhyLeftOut
from app.store.label_queries import VoteFilter
from hypo_engine.data.formats import Pair

MAX_LICENCE_CHARS = 200


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

    The counts and the manifest are complete once all pieces have been read.
    """

    def __init__(
        self,
        format: LabelFormat | str,
        file_type: FileType | str,
        *,
        only: VoteFilter | None = None,
        viewer: str | None = None,
        options: Options = DEFAULTS,
        licence: str = "",
    ) -> None:
        """Prepare an export.

        Args:
            viewer: the user who receives the file. Rows omit the names that this user may not see yet, or
                are left out; the names in the other rows are recorded as shown. None is a reader who does
                not vote.
            licence: stated in the manifest.

        Raises:
            InvalidInput: for an unknown format or file type, or a long licence.
        """
        self.format = _member(LabelFormat, format, "format")
        self.file_type = _member(FileType, file_type, "file_type")
        if only is not None:
            only.check()
            if only.adjudicated and self.format is not LabelFormat.TRL:
                raise InvalidInput(
                    "Adjudicated verdicts replace votes in trl only; raw has them beside each vote.",
                    field="adjudicated",
                )
        if len(licence) > MAX_LICENCE_CHARS:
            raise InvalidInput(
                f"The licence has more than {MAX_LICENCE_CHARS} characters; give its name.", field="licence"
            )
        self._only, self._viewer, self._options, self._licence = only, viewer, options, licence.strip()
        self._layout = layout_of(self.format, options)
        self._counts = Counts()
        self._sha256, self._size = hashlib.sha256(), 0

    @property
    def file_name(self) -> str:
        return f"votes_{self.format.value}.{self.file_type.value}"

    def pieces(self) -> Iterator[bytes]:
        """Yield the file in order. Rows are read in short transactions, so a slow reader keeps none open."""
        layout = self._layout
        rows = layout.rows(layout.read(self._only, self._viewer), self._counts, self._options)
        for piece in encoded(rows, self.file_type, layout.schema):
            self._sha256.update(piece)
            self._size += len(piece)
            yield piece

    def exported(self, path: Path) -> Exported:
        """The counts of the export, once all pieces are written to a file."""
        counts = self._counts
        return Exported(path, counts.rows, counts.by_reason, counts.cut, counts.hidden)

    def manifest(self) -> dict[str, Any]:
        """What the file holds and leaves out, and its hash, once all pieces have been read."""
        return manifest(
            file=self.file_name,
            format=self.format.value,
            schema=self._layout.schema,
            counts=self._counts,
            only=self._only,
            options=self._options,
            licence=self._licence,
            size=self._size,
            sha256=self._sha256.hexdigest(),
        )

    def write_archive(self, folder: Path) -> Path:
        """Write a zip of the file and its manifest to a folder."""
        path = folder / f"votes_{self.format.value}.zip"
        with ZipFile(path, "w", ZIP_DEFLATED) as archive:
            with archive.open(self.file_name, "w", force_zip64=True) as file:
                for piece in self.pieces():
                    file.write(piece)
            archive.writestr("manifest.json", manifest_text(self.manifest()))
        return path


def manifest_text(values: dict[str, Any]) -> str:
    """A manifest as the text of its file."""
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


def export_labels(
    format: LabelFormat | str,
    file_type: FileType | str,
    *,
    folder: Path,
    only: VoteFilter | None = None,
    viewer: str | None = None,
    options: Options = DEFAULTS,
    licence: str = "",
) -> tuple[Exported, dict[str, Any]]:
    """Write the votes to a new file in a folder, and return its counts and its manifest.

    The arguments are those of `Export`.

    Raises:
        InvalidInput: as `Export`.
    """
    export = Export(format, file_type, only=only, viewer=viewer, options=options, licence=licence)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / export.file_name
    write_file(path, export.pieces())
    return export.exported(path), export.manifest()


def count_trl(*, only: VoteFilter | None = None, leave_out_cut: bool = False) -> TrlCounts:
    """The counts that a `trl` export would have now."""
    with read_session() as session:
        found = Counter(label_queries.count_left_out(session=session, only=only))
        if only is not None and only.adjudicated and only.campaign_id is not None:
            found.update(adjudications.count_left_out(only.campaign_id, session=session))
    whole, cut = found.get((None, False), 0), found.get((None, True), 0)
    left_out = dict.fromkeys((reason.value for reason in WhyLeftOut), 0)
    for (reason, _), number in found.items():
        if reason is not None:
            left_out[reason.value] += number
    if leave_out_cut:
        return TrlCounts(whole, 0, {**left_out, WhyLeftOut.CUT.value: cut})
    return TrlCounts(whole + cut, cut, left_out)


def use_as_dataset(
    name: str,
    *,
    only: VoteFilter | None = None,
    leave_out_cut: bool = False,
    merge: bool = False,
    bad: bool = False,
) -> AddedDataset:
    """Store the pairs of a `trl` export as the next version of a dataset, all of them for training.

    Their prompts are removed from the held-out pairs of every dataset, so no later evaluation uses a prompt
    that a model was trained on.

    Args:
        merge: as in `Options`; the pairs have the weights and margins of the votes on their comparisons.
        bad: the answers of votes for "both bad" become rows with one answer, for KTO.

    Raises:
        InvalidInput: for an invalid name.
        Refused: when no vote becomes a pair.
    """
    checked_name(name)
    if only is not None:
        only.check()
    counts, voted_on = Counts(), Counter[int]()
    options = Options(leave_out_cut=leave_out_cut, merge=merge)
    pairs = _pairs(only, counts, voted_on, options, bad=bad)
    first = next(pairs, None)
    if first is None and counts.left_out[WhyLeftOut.CUT]:
        raise Refused(
            "Every pair from the votes has an answer that was cut at the length limit. Include "
            "pairs with cut answers, or ask again with room for longer answers."
        )
    if first is None:
        raise Refused("No vote prefers one answer to another yet; vote for a better answer first.")
    return add_pairs(
        pairs=chain([first], pairs),
        name=name,
        source="votes",
        format="votes",
        held_out=0.0,
        voted_on=voted_on,
    )


def _pairs(
    only: VoteFilter | None, counts: Counts, voted_on: Counter[int], options: Options, *, bad: bool
) -> Iterator[Pair]:
    """The pairs of the votes, and the bad answers if wanted; counts the rows of each comparison."""
    yield from map(_pair, _rows(only, counts, voted_on, options))
    if bad:
        for comparison, row in bad_answers(only, options, without=frozenset(voted_on)):
            voted_on[comparison] += 1
            yield row


def _rows(
    only: VoteFilter | None, counts: Counts, voted_on: Counter[int], options: Options
) -> Iterator[dict[str, Any]]:
    """The rows of a `trl` export; counts those of each comparison."""
    layout = layout_of(LabelFormat.TRL, options)
    for found in layout.read(only, None):
        verdict = found[0] if options.merge else found
        for row in layout.rows([found], counts, options):
            voted_on[verdict.comparison_id] += 1
            yield row


def _pair(row: dict[str, Any]) -> Pair:
    """The pair of a row; a merged one has a weight and a margin."""
    chosen, rejected = _said(row["chosen"]), _said(row["rejected"])
    return Pair(row["prompt"], chosen, rejected, row.get("weight", 1.0), row.get("margin", 0.0))


def _said(messages: list[Message]) -> str:
    return messages[0]["content"]


_Kind = TypeVar("_Kind", bound=StrEnum)


def _member(kind: type[_Kind], value: str, field: str) -> _Kind:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise InvalidInput(f"{field} must be one of {known}, not {value!r}.", field=field) from None
