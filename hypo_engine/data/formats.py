"""Rows of any known preference format -> pairs, with a reason for each skipped row. No torch here.

This is the public entry point. `layouts` has the table of formats and `mapping` the columns that a user
names; `pairing` combines what they find into a pair, and `columns` checks what they did not use.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hypo_engine.data.account import Account
from hypo_engine.data.columns import check_unused, refuse_unusable
from hypo_engine.data.jsonl import jsonl_rows
from hypo_engine.data.layouts import FORMATS, Format
from hypo_engine.data.made import checked_pair, make_pair
from hypo_engine.data.mapping import AnyMapping, ColumnMapping, WinnerMapping, read_mapping
from hypo_engine.data.pair import Pair, prompt_fraction, prompt_key
from hypo_engine.data.pairing import assemble, begins_with_prompt, is_short, spoken
from hypo_engine.data.rows import BadCell, Row, RowError
from hypo_engine.data.scores import Score, score_of
from hypo_engine.data.weights import weight_and_margin
from hypo_engine.errors import DataError

__all__ = [
    "FORMATS",
    "Account",
    "AnyMapping",
    "BadCell",
    "ColumnMapping",
    "Format",
    "Kept",
    "LeftOut",
    "Pair",
    "RowError",
    "WinnerMapping",
    "account_of",
    "checked_pair",
    "convert",
    "detect",
    "jsonl_rows",
    "make_pair",
    "prompt_fraction",
    "prompt_key",
    "read_jsonl_pairs",
    "read_mapping",
]

ROWS_TO_DETECT = 50
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that became a pair; rows are numbered from 1.

    ``unused`` names the columns and message keys with values that are not in the pair; ``score`` tells
    whether the row's scores agree with the pair.
    """

    row: int
    pair: Pair
    unused: tuple[str, ...] = ()
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A skipped row and the reason."""

    row: int
    reason: str


def detect(first_rows: Iterable[object]) -> Format | None:
    """The format of most of the rows, or None; each row votes for the first format that recognises it."""
    votes = Counter(_known_format(row) for row in first_rows if isinstance(row, Mapping))
    if not votes:
        return None
    best, count = max(votes.items(), key=lambda vote: (vote[1], vote[0] is not None))
    return best if 2 * count >= votes.total() else None


def _known_format(row: object) -> Format | None:
    try:
        values = _as_row(row)
        return next((known for known in FORMATS if known.recognises(values)), None)
    except (RowError, RecursionError):
        return None


def convert(rows: Iterable[tuple[int, object]], how: Format | AnyMapping) -> Iterator[Kept | LeftOut]:
    """Turn numbered rows into pairs, one by one; a RowError in place of a row is the reason to skip it.

    The first rows are inspected together, to find out whether the answers repeat their prompts.

    """
    rows = iter(rows)
    head = list(islice(rows, ROWS_TO_DETECT))
    repeated = _prompts_are_repeated((row for _, row in head), how)
    for number, row in chain(head, rows):
        try:
            yield _converted(number, _as_row(row), how, repeated)
        except RowError as error:
            yield LeftOut(number, str(error)[:LONGEST_REASON])
        except RecursionError:
            yield LeftOut(number, "nested too deeply")


def _converted(number: int, row: Row, how: Format | AnyMapping, repeated: bool) -> Kept:
    parts = how.to_parts(row)
    pair = assemble(parts, prompts_are_repeated=repeated)
    names_winner = isinstance(how, WinnerMapping) or bool(parts.chosen_side)
    weight, margin = weight_and_margin(row, _taken(how), margins=not (names_winner or pair.is_single))
    if (weight, margin) != (pair.weight, pair.margin):
        pair = replace(pair, weight=weight, margin=margin)
    score = score_of(row, parts.chosen_side, parts.rejected_side)
    unused = row.unused()
    refuse_unusable(unused, row)
    if not how.maps:
        check_unused(unused, row, pair)
    return Kept(number, pair, tuple(unused), score)


def _taken(how: Format | AnyMapping) -> Sequence[str]:
    """The columns that a mapping names."""
    return how.columns if isinstance(how, ColumnMapping | WinnerMapping) else ()


def _prompts_are_repeated(rows: Iterable[object], how: Format | AnyMapping) -> bool:
    """Whether the answers begin with their prompts; long prompts decide if there are some."""
    found: dict[bool, list[bool]] = {True: [], False: []}
    for row in rows:
        try:
            parts = how.to_parts(_as_row(row))
            prompt, *answers = (_text(value) for value in (parts.prompt, parts.chosen, parts.rejected))
        except (RowError, RecursionError):
            continue
        if prompt:
            found[is_short(prompt)].append(begins_with_prompt(prompt, *answers))
    told = found[False] or found[True]
    return 2 * sum(told) > len(told)


def _text(value: Any) -> str:
    """A text, or the text of one message."""
    said = spoken(value, "text")
    return said if isinstance(said, str) else said[0]["content"] if len(said) == 1 else ""


def account_of(results: Iterable[Kept | LeftOut]) -> Account:
    """The account of converted rows."""
    account = Account()
    for result in results:
        if isinstance(result, Kept):
            account.add(result.unused, result.score, result.pair)
        else:
            account.leave_out(result.reason)
    return account


def _as_row(row: object) -> Row:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError("not an object with named columns")
    return Row({str(name): value for name, value in row.items()})


def read_jsonl_pairs(path: str | Path) -> Iterator[Kept | LeftOut]:
    """Read a JSONL file of any known format, row by row.

    Raises:
        DataError: the file cannot be read, or its first rows match no format.
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
