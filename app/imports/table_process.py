"""A separate process that reads one Parquet, Arrow or spreadsheet file and writes its rows as JSON.

Third-party libraries read these files, and a small file can demand any amount of memory. Such a file ends
this process, whose memory is limited, instead of the web app. The process gets no secrets and imports no
module of the app.

Usage: python -I table_process.py parquet|arrow|sheet FILE [KNOWN_COLUMNS]

The first line is {"names": [...], "remarks": [...]}. Each further line is [number, cells, bad], where `bad`
maps the index of an unreadable cell to the reason. The last line is {"end": true} or {"refused": sentence}.
"""

import datetime
import decimal
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

MOST_BYTES = 2 * 2**30
MOST_SECONDS = 1800
MOST_COLUMNS = 5000
HEADER_ROWS = 20
BATCH_ROWS = 256
BATCH_BYTES = 32 * 2**20

Cell = tuple[Any, str | None]
"""A value, and the reason if it cannot be read."""


class Refused(Exception):
    """The file is unusable. The message is shown to the user."""


def limit_this_process() -> None:
    try:
        import resource
    except ImportError:
        return
    for kind, most in ((resource.RLIMIT_DATA, MOST_BYTES), (resource.RLIMIT_CPU, MOST_SECONDS)):
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def say(line: Any) -> None:
    sys.stdout.buffer.write(json.dumps(line, ensure_ascii=False, default=_other).encode() + b"\n")


def _other(value: Any) -> Any:
    """Convert a value that JSON cannot represent to something that is not text."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    return {type(value).__name__: str(value)}


def tell(names: list[str], rows: Iterable[tuple[int, list[Cell]]], remarks: list[str]) -> None:
    """Write all lines except the last."""
    if len(names) > MOST_COLUMNS:
        raise Refused(f"The file has more than {MOST_COLUMNS} columns.")
    say({"names": names, "remarks": remarks})
    for number, cells in rows:
        bad = {str(index): reason for index, (_, reason) in enumerate(cells) if reason}
        values = [None if reason else value for value, reason in cells]
        try:
            say([number, values, bad])
        except (ValueError, TypeError, RecursionError) as error:  # a lone surrogate, or nested too deeply
            say([number, [], {"": f"cannot be read: {_words(error)}"}])


# Tables of Arrow's types.


def cells_of(array: Any) -> Iterator[Cell]:
    """Yield the values of an array. If they cannot be converted together, convert each separately."""
    unread = _never_text(array.type)
    if unread:
        yield from ((None, unread if valid else None) for valid in array.is_valid().to_pylist())
        return
    try:
        values = array.to_pylist()
    except MemoryError:
        raise
    except Exception:  # Arrow does not wrap the errors of datetime, zoneinfo and codecs
        yield from map(_cell_of, array)
    else:
        yield from ((value, None) for value in values)


def _cell_of(scalar: Any) -> Cell:
    try:
        return scalar.as_py(), None
    except MemoryError:
        raise
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except Exception as error:  # as above
        return None, f"cannot be read: {_words(error)}"


def _words(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:150].rstrip(".")


def _never_text(kind: Any) -> str:
    """The reason why the cells of a column of this type are never usable; "" if they may be."""
    from pyarrow import types

    if types.is_temporal(kind):
        return "a date or time instead of text"
    if any(is_kind(kind) for is_kind in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)):
        return "binary data instead of text"
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _never_text(kind.field("bytes").type):
        return "binary data instead of text"
    return ""


def parquet(path: str) -> None:
    """Read a Parquet file column by column, so that a damaged column affects only rows that need it."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, buffer_size=2**20) as file:
        schema = file.schema_arrow
        tell(_names(schema.names), _parquet_rows(file, schema), [])


def _parquet_rows(file: Any, schema: Any) -> Iterator[tuple[int, list[Cell]]]:
    number = 0
    for group in range(file.num_row_groups):
        facts = file.metadata.row_group(group)
        size = min(BATCH_ROWS, max(1, BATCH_BYTES * max(1, facts.num_rows) // max(1, facts.total_byte_size)))
        columns = [_column(file, field, group, size) for field in schema]
        for cells in zip(*columns, strict=True):
            number += 1
            yield number, list(cells)


def _column(file: Any, field: Any, group: int, size: int) -> Iterator[Cell]:
    """Yield a column's cells in one row group. Cells after damage carry it as their reason."""
    rows = file.metadata.row_group(group).num_rows
    unread = _never_text(field.type)
    if unread:
        yield from ((None, unread) for _ in range(rows))
        return
    read, reason = 0, "the column ends early"
    try:
        batches = file.iter_batches(size, row_groups=[group], columns=[field.name], use_threads=False)
        for batch in batches:
            for cell in cells_of(batch.column(batch.schema.get_field_index(field.name))):
                read += 1
                yield cell
    except (MemoryError, GeneratorExit):
        raise
    except Exception as error:  # for damage Arrow raises OSError, ValueError and its own errors
        reason = f"cannot be read: {_words(error)}"
    yield from ((None, reason) for _ in range(read, rows))


def arrow(path: str) -> None:
    """Read an Arrow stream or file.

    A file is read as the stream after its 8-byte magic. If that fails, as for polars, its footer is used.
    """
    import pyarrow

    with pyarrow.memory_map(path) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(8 if is_file else 0)
        try:
            reader = pyarrow.ipc.open_stream(file)
        except (pyarrow.ArrowException, OSError):
            if not is_file:
                raise
            reader = pyarrow.ipc.open_file(file)
        with reader:
            tell(_names(reader.schema.names), _arrow_rows(reader), [])


def _batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader


def _arrow_rows(reader: Any) -> Iterator[tuple[int, list[Cell]]]:
    number = 0
    for batch in _batches(reader):
        batch.validate()
        for start in range(0, batch.num_rows, BATCH_ROWS):
            part = batch.slice(start, BATCH_ROWS)
            for cells in zip(*map(cells_of, part.columns), strict=True):
                number += 1
                yield number, list(cells)


def _names(names: list[str]) -> list[str]:
    twice = (
        next((name for name in names if names.count(name) > 1), None) if len(names) <= MOST_COLUMNS else None
    )
    if twice is not None:
        raise Refused(f"The file names a column twice: {twice[:100]!r}. Rename one of them.")
    return names


# Spreadsheets.


def sheet(path: str, known: str = "[]") -> None:
    """Read the first visible sheet with a known header near its top, or else the first non-empty one.

    Args:
        known: a JSON list of column lists. A row with all columns of one list is a header.
    """
    filled = _filled_sheets(path)
    layouts = json.loads(known)
    chosen, header = next(
        ((found, row) for found in filled if (row := _header_row(found, layouts)) is not None),
        (filled[0], None),
    )
    remarks = []
    if len(filled) > 1:
        others = ", ".join(repr(other.name) for other in filled if other is not chosen)
        remarks = [f"The sheet {chosen.name!r} was read, not {others}."]
    counts = _cells_of_first_rows(chosen)
    first = counts[0][0] if counts else 0
    if header is None:
        _check_header(chosen.name, counts)
        header = first
    elif header > first:
        remarks.append(f"Row {header + 1} of the sheet names the columns; the rows above it were not read.")
    rows = enumerate(chosen.iter_rows())
    names = next([_text(value) for value in row] for number, row in rows if number == header)
    body: Iterator[tuple[int, list[Cell]]] = (
        (number - header, [(_text(value), None) for value in row])
        for number, row in rows
        if any(map(_text, row))
    )
    tell(names, body, remarks)


def _filled_sheets(path: str) -> list[Any]:
    import python_calamine

    try:
        with open(path, "rb") as file:  # noqa: PTH123
            book = python_calamine.load_workbook(file)
    except python_calamine.PasswordError:
        raise Refused("The workbook is protected by a password. Save it without one.") from None
    filled = [
        found
        for facts in book.sheets_metadata
        if facts.visible == python_calamine.SheetVisibleEnum.Visible
        and facts.typ == python_calamine.SheetTypeEnum.WorkSheet
        and (found := book.get_sheet_by_name(facts.name)).height
    ]
    if not filled:
        raise Refused("The file has no rows. Nothing was added.")
    return filled


def _header_row(found: Any, layouts: list[list[str]]) -> int | None:
    """The first row near a sheet's top with all columns of a layout."""
    for number, row in enumerate(islice(found.iter_rows(), HEADER_ROWS)):
        names = {_text(value).strip() for value in row}
        if any(names.issuperset(layout) for layout in layouts):
            return number
    return None


def _cells_of_first_rows(found: Any) -> list[tuple[int, int]]:
    """(row, number of filled cells) of the first non-empty rows."""
    counted = (
        (number, sum(1 for value in row if _text(value).strip()))
        for number, row in enumerate(found.iter_rows())
    )
    return list(islice(((number, count) for number, count in counted if count), HEADER_ROWS))


def _check_header(name: str, counts: list[tuple[int, int]]) -> None:
    """Refuse a header of a single cell above wider rows, which is a title."""
    if counts and counts[0][1] == 1 and max(count for _, count in counts) > 1:
        raise Refused(
            f"Row {counts[0][0] + 1} of the sheet {name!r} is not a header: it has one cell, and "
            "rows below have more. Delete the rows above the column names, or move their sheet "
            "to the front."
        )


def _text(value: Any) -> str:
    """A cell's text, as a spreadsheet would write it to a CSV."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    return str(value)


def main(kind: str, path: str, *more: str) -> None:
    limit_this_process()
    try:
        {"parquet": parquet, "arrow": arrow, "sheet": sheet}[kind](path, *more)
        say({"end": True})
    except Refused as error:
        say({"refused": str(error)})
    except MemoryError:
        say({"refused": "Reading the file takes too much memory. Write it with smaller row groups."})
    except Exception as error:  # three libraries, each with its own errors
        say({"refused": f"The file cannot be read: {_words(error)}. Copy or write it again."})
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4])
