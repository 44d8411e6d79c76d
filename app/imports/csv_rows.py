"""CSV records as rows. Parsing is strict: a broken record is left out rather than misread."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from app.csv_text import ESCAPED_COLUMNS, original
from app.imports.csv_lines import (
    HELD_LF,
    Readable,
    RecordLines,
    cr_lines,
    ends_in_cr,
    has_spaces_before_quotes,
    lf_lines,
)
from app.imports.unpacked import bad_file
from hypo_engine.data.formats import BadCell, RowError
from hypo_engine.data.jsonl import LONGEST_ROW_BYTES

csv.field_size_limit(LONGEST_ROW_BYTES)
DELIMITERS = (",", ";", "\t", "|")
LONGEST_HEADER = 20
_SEPARATOR = re.compile(r"(\"?)sep=([^\w\s\"]|\t)\1\s*", re.IGNORECASE)
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_PROBLEMS = {
    "unexpected end of data": "an opening quote is not closed",
    "new-line character seen in unquoted field - do you need to open the file with newline=''?": (
        "a carriage return in a cell without quotes"
    ),
}


class Header:
    """A header's column names, which turn the cells of a record into a row.

    Spreadsheets write empty columns to the right of the last used one. These are dropped from the header and
    from every record. An empty name further left becomes `column N`. The cells of a duplicate column are
    unusable.

    Raises:
        InvalidInput: the names are not UTF-8.
    """

    def __init__(self, cells: list[str]) -> None:
        names = [cell.strip() for cell in cells]
        while names and not names[-1]:
            names.pop()
        if not is_utf8("".join(names)):
            raise bad_file("The header is not UTF-8. Save the file as UTF-8.")
        self.names = [name or f"column {number}" for number, name in enumerate(names, start=1)]
        counts = Counter(self.names)
        self.twice = [name for name, count in counts.items() if count > 1]
        self._escaped = self.names[: len(ESCAPED_COLUMNS)] == ESCAPED_COLUMNS

    @property
    def remarks(self) -> list[str]:
        """Remarks for the file's owner."""
        named = ", ".join(repr(name[:100]) for name in self.twice[:5])
        return (
            [f"The header names a column twice: {named}. Such columns cannot be used; rename one of them."]
            if named
            else []
        )

    def row(self, cells: list[str]) -> dict[str, Any] | RowError:
        """The row of a record, or the reason there is none. Cells missing at the end become `BadCell`."""
        cells = list(cells)
        while len(cells) > len(self.names) and not cells[-1]:
            cells.pop()
        count, names = len(cells), self.names
        if count > len(names):
            return RowError(f"{count} columns where the header has {len(names)}")
        row = dict(zip(names, map(self._cell, cells), strict=False))
        missing = f"not there; the row has {_columns(count)} where the header has {len(names)}"
        row |= dict.fromkeys(names[count:], BadCell(missing))
        return row | dict.fromkeys(
            self.twice, BadCell("the header names this column twice; rename one of them")
        )

    def _cell(self, text: str) -> Any:
        if not is_utf8(text):
            return BadCell("not UTF-8")
        return original(text) if self._escaped else text


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def is_utf8(text: str) -> bool:
    """Whether a text decoded with `surrogateescape` was valid UTF-8."""
    return text.isascii() or _ESCAPED_BYTE.search(text) is None


def csv_rows(
    stream: Readable, longest: int, *, head: bytes = b"", remarks: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Yield (record number, row or error). The first record after the header is number 1.

    Args:
        head: the beginning of the text, from which line ends and quoting are detected.
        remarks: receives the remarks for the file's owner.

    Raises:
        InvalidInput: the header cannot be used.
    """
    lines = RecordLines((cr_lines if ends_in_cr(head) else lf_lines)(stream, longest))
    header, delimiter = _header(lines)
    if remarks is not None:
        remarks += header.remarks
    spaced = has_spaces_before_quotes(head.decode("utf-8", errors="replace"), delimiter)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    return _records(lines, reader, header)


def _records(
    lines: RecordLines, reader: Iterator[list[str]], header: Header
) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    number = 0
    while True:
        lines.start_record()
        try:
            cells = [cell.replace(HELD_LF, "\n") for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back(kept=1)
            number += 1
            yield number, RowError(f"not CSV: {_PROBLEMS.get(str(error), error)}")
            continue
        number += 1 if cells else 0
        if any(cells):
            yield number, RowError("a line is too long") if lines.too_long else header.row(cells)


def _header(lines: RecordLines) -> tuple[Header, str]:
    """The header and the delimiter, from the first non-blank line. A spreadsheet's `sep=` line is applied."""
    first = _first_line(lines)
    delimiters: tuple[str, ...] = DELIMITERS
    if named := _SEPARATOR.fullmatch(first):
        delimiters = (named[2],)
        first = _first_line(lines)
    if lines.too_long:
        raise bad_file("The CSV's header is too long. It must be one line of column names.")
    for line in islice(lines, LONGEST_HEADER - 1):
        if first.count('"') % 2 == 0:
            lines.of_record = [line]
            lines.give_back(kept=0)
            break
        first += line
    cells, delimiter = max(
        ((_cells(first, delimiter), delimiter) for delimiter in delimiters), key=lambda found: len(found[0])
    )
    if not cells:
        raise bad_file("The CSV's header cannot be read: its quotes do not match.")
    if sum(1 for cell in cells if cell.strip()) < 2:
        raise bad_file(
            "The file is neither JSON, JSONL, CSV, Excel, Parquet nor Arrow. A CSV begins with a line of "
            f"column names; this file begins with {first.strip()[:60]!r}."
        )
    return Header(cells), delimiter


def _first_line(lines: RecordLines) -> str:
    """The next line with more than white space, quotes and delimiters; "" at the end."""
    meaningless = "".join(DELIMITERS) + '" \r\n'
    return next((line for line in lines if line.strip(meaningless)), "")


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return []
