"""Stream the rows of a JSON text of any layout except lines. A bad element affects only its own row."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import IO, Any

from app.imports.json_scan import (
    NotClosed,
    Readable,
    elements,
    enter,
    marks,
    members,
    name_of,
    sequence,
)
from app.imports.json_shape import MOST_COLUMNS, Layout, Shape
from app.imports.unpacked import Budget, bad_file
from hypo_engine.data.formats import BadCell, RowError
from hypo_engine.data.jsonl import parse_row

Open = Callable[[Budget | None], AbstractContextManager[Readable]]
COLUMN_BYTES = 64 * 1024
_TOO_LONG = 2**32 - 1


def json_rows(
    opened: Open, shape: Shape, longest: int, budget: Budget | None = None
) -> Iterator[tuple[int, Any | RowError]]:
    """Yield (number from 1, value or error).

    Args:
        opened: opens the text at its beginning and spends the budget, if one is given.
        longest: limit in bytes; longer elements are skipped without buffering.

    Raises:
        InvalidInput: the rows are missing, or the text ends inside them.
    """
    try:
        yield from _rows(opened, shape, longest, budget)
    except NotClosed:
        raise bad_file("The JSON ends early, or changed while it was read. Nothing was added.") from None


def _rows(
    opened: Open, shape: Shape, longest: int, budget: Budget | None
) -> Iterator[tuple[int, Any | RowError]]:
    columns = _names_of_columns(opened, shape.path, longest) if shape.layout is Layout.SPLIT else []
    with opened(budget) as stream:
        if shape.layout is Layout.COLUMNS:
            yield from _column_rows(stream, longest, shape.path)
            return
        if shape.layout is Layout.LIST:
            yield from list_rows(stream, longest, shape.path)
            return
        within = marks(stream)
        if shape.layout is Layout.SEQUENCE:
            yield from _numbered(_value(raw, longest) for raw in sequence(within, longest))
            return
        enter(within, (*shape.path, "data") if columns else ())
        found = elements(within, longest)
        if columns:
            yield from _numbered(_row_of_cells(columns, raw, longest) for raw in found)
        else:
            yield from _numbered(_value(_behind_name(raw), longest) for raw in found)


def list_rows(
    stream: Readable, longest: int, path: Sequence[str] = ()
) -> Iterator[tuple[int, Any | RowError]]:
    """Yield the elements of a list, which is the whole text or under a path of names in an object."""
    within, number = marks(stream), 0
    enter(within, path)
    for number, value in _numbered(_value(raw, longest) for raw in elements(within, longest)):
        yield number, value
    rest = b"".join(span.strip() + mark for span, mark in within if not path)
    if rest:
        raise bad_file(f"There is more text after the end of the list, after row {number}. Make it one list.")


def _numbered(values: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for number, value in enumerate(values, start=1):
            yield number, value
    except NotClosed:
        raise bad_file(f"The JSON ends early, in or after row {number + 1}. Nothing was added.") from None


def _value(raw: bytes | None, longest: int) -> Any | RowError:
    if raw is None:
        return RowError(f"longer than {longest // 1024} KiB")
    try:
        return parse_row(raw)
    except RowError as error:
        return error


def _cell(raw: bytes | None, longest: int) -> Any | BadCell:
    value = _value(raw, longest)
    return BadCell(str(value)) if isinstance(value, RowError) else value


def _behind_name(raw: bytes | None) -> bytes | None:
    """The value of an object's member, without its name."""
    found = name_of(raw) if raw else None
    return found[1] if found else raw


def _names_of_columns(opened: Open, path: Sequence[str], longest: int) -> list[str]:
    with opened(None) as stream:
        within = marks(stream)
        enter(within, (*path, "columns"))
        names = [_value(raw, longest) for raw in islice(elements(within, longest), MOST_COLUMNS + 1)]
    if len(names) > MOST_COLUMNS:
        raise bad_file(f"The JSON has more than {MOST_COLUMNS} columns.")
    if not names or len({str(name) for name in names}) < len(names):
        raise bad_file("The JSON's list of columns is empty or has a duplicate.")
    return [str(name) for name in names]


def _row_of_cells(columns: Sequence[str], raw: bytes | None, longest: int) -> Any | RowError:
    cells = _value(raw, longest)
    if isinstance(cells, RowError):
        return cells
    if not isinstance(cells, list):
        return RowError("not a list of cells")
    if len(cells) != len(columns):
        return RowError(f"{len(cells)} cells where there are {len(columns)} columns")
    return dict(zip(columns, cells, strict=True))


def _column_rows(stream: Readable, longest: int, path: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """Yield rows from consecutive columns, which are copied to a temporary file first."""
    with tempfile.TemporaryFile() as file:
        starts: dict[str, int] = {}
        within = marks(stream)
        enter(within, path)
        for name in members(within):
            if name in starts:
                raise bad_file(f"The JSON names a column twice: {name[:100]!r}.")
            starts[name] = file.tell()
            for raw in elements(within, longest):
                file.write((_TOO_LONG if raw is None else len(raw)).to_bytes(4, "big") + (raw or b""))
        ends = [*list(starts.values())[1:], file.tell()]
        file.flush()
        read = [_cells(file, starts[name], end) for name, end in zip(starts, ends, strict=True)]
        for number, row in enumerate(zip(*read, strict=True), start=1):
            yield number, _row_across(list(starts), row, longest)


def _cells(file: IO[bytes], position: int, end: int) -> Iterator[bytes | None]:
    """Yield the cells between two positions of a file. Several such readers share the file."""
    held = b""
    while position < end or held:
        size = int.from_bytes(held[:4], "big") if len(held) >= 4 else 0
        wanted = 4 if size == _TOO_LONG else 4 + size
        if len(held) < max(4, wanted):
            more = os.pread(file.fileno(), min(end - position, max(COLUMN_BYTES, wanted)), position)
            held, position = held + more, position + len(more)
            continue
        yield None if size == _TOO_LONG else held[4:wanted]
        held = held[wanted:]


def _row_across(columns: Sequence[str], raw: Sequence[bytes | None], longest: int) -> dict[str, Any]:
    named = [name_of(cell) if cell else None for cell in raw]
    if len({found[0] for found in named if found}) > 1:
        raise bad_file(
            "The JSON's columns have different row labels. "
            'In pandas, write it with orient="records", lines=True.'
        )
    values = (found[1] if found else cell for found, cell in zip(named, raw, strict=True))
    return {name: _cell(value, longest) for name, value in zip(columns, values, strict=True)}
