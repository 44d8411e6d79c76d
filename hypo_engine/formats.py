"""Rows of any known preference format -> pairs, with a reason for each row left out. No torch here.

This is the public face; `layouts` holds the table of formats, `rows` the checks of a row's values.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from hypo_engine.errors import DataError
from hypo_engine.jsonl import jsonl_rows
from hypo_engine.layouts import FORMATS, Format, Row, explicit, implicit
from hypo_engine.reporting import Prompt
from hypo_engine.rows import BadCell, Pair, RowError, make_pair, plain

__all__ = [
    "FORMATS",
    "BadCell",
    "ColumnMapping",
    "Format",
    "Kept",
    "LeftOut",
    "Pair",
    "RowError",
    "convert",
    "detect",
    "jsonl_rows",
    "make_pair",
    "prompt_fraction",
    "prompt_key",
    "read_jsonl_pairs",
]

ROWS_TO_DETECT = 50
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that became a pair; rows count from 1."""

    row: int
    pair: Pair


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that became no pair, and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which columns hold the prompt and the answers; without a prompt column it is what the answers share."""

    prompt: str | None
    chosen: str
    rejected: str

    name = "mapped"
    refusal = ""

    def __post_init__(self) -> None:
        if len({self.prompt, self.chosen, self.rejected}) < 3:
            raise DataError("The mapping names one column twice; prompt, chosen and rejected must differ.")

    @property
    def columns(self) -> list[str]:
        """The columns the mapping needs."""
        return [name for name in (self.prompt, self.chosen, self.rejected) if name is not None]

    def to_pair(self, row: Row) -> Pair:
        """Read a row through the mapping, texts and messages alike."""
        for column in self.columns:
            if column not in row:
                raise RowError(f"column {column!r} missing"[:LONGEST_REASON])
        if self.prompt is None:
            return implicit(row[self.chosen], row[self.rejected])
        return explicit(row[self.prompt], row[self.chosen], row[self.rejected])


def detect(first_rows: Iterable[object]) -> Format | None:
    """The format that most of the rows have, or None; each row votes for the first format that knows it."""
    votes = Counter(_known_format(row) for row in first_rows if isinstance(row, Mapping))
    if not votes:
        return None
    best, count = max(votes.items(), key=lambda vote: (vote[1], vote[0] is not None))
    return best if 2 * count >= votes.total() else None


def _known_format(row: object) -> Format | None:
    try:
        values = _as_row(row)
    except (RowError, RecursionError):
        return None
    return next((known for known in FORMATS if known.recognises(values)), None)


def convert(rows: Iterable[tuple[int, object]], how: Format | ColumnMapping) -> Iterator[Kept | LeftOut]:
    """Turn numbered rows into pairs, one by one; a row that is a RowError is left out for that reason.

    Raises:
        DataError: for a format that cannot be used at all, saying why.
    """
    if how.refusal:
        raise DataError(how.refusal)
    for number, row in rows:
        try:
            yield Kept(number, how.to_pair(_as_row(row)))
        except RowError as error:
            yield LeftOut(number, str(error)[:LONGEST_REASON])
        except RecursionError:
            yield LeftOut(number, "nested too deep")


def _as_row(row: object) -> Row:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError("not an object with named columns")
    return {str(name): plain(value) for name, value in row.items()}


def read_jsonl_pairs(path: str | Path) -> Iterator[Kept | LeftOut]:
    """Read a JSONL file of any known format, row by row.

    Raises:
        DataError: when the file cannot be read, or no format is recognised in its first rows.
    """
    try:
        with Path(path).open("rb") as stream:
            rows = jsonl_rows(stream)
            head = list(islice(rows, ROWS_TO_DETECT))
            known = detect(row for _, row in head)
            if known is None:
                raise DataError(f"{path}: no known format. Give each row prompt, chosen and rejected.")
            yield from convert(chain(head, rows), known)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def prompt_key(prompt: Prompt) -> str:
    """SHA-256, in hex, of what a prompt says: the same for prompts that no split may part.

    A plain prompt and the same text as a user's only turn are one prompt, white space around it aside.
    """
    if not isinstance(prompt, str):
        turns = [[turn["role"], turn["content"].strip()] for turn in prompt]
        only_user = len(turns) == 1 and turns[0][0] == "user"
        prompt = turns[0][1] if only_user else json.dumps(turns, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(prompt.strip().encode()).hexdigest()


def prompt_fraction(prompt: Prompt) -> float:
    """A number in [0, 1) that depends on the prompt alone: below the held-out share, a pair is held out."""
    return int(prompt_key(prompt)[:12], 16) / 2**48
