"""CSV records as rows. Strict about quotes and columns: a broken record is left out rather than misread."""

import csv
import json
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from app.imports.unpacked import bad_file
from hypo_engine.formats import RowError
from hypo_engine.jsonl import LONGEST_ROW_BYTES

csv.field_size_limit(LONGEST_ROW_BYTES)
DELIMITERS = (",", ";", "\t")
_MESSAGE_KEYS = {"role", "from"}


class Readable(Protocol):
    def readline(self, size: int = -1, /) -> bytes: ...


class _Lines:
    """The lines of a stream as text, remembering those of the record that is being read."""

    def __init__(self, stream: Readable, longest: int) -> None:
        self._stream = stream
        self._longest = longest
        self._waiting: deque[str] = deque()
        self.of_record: list[str] = []
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else self._read()
        self.of_record.append(line)
        return line

    def _read(self) -> str:
        raw = self._stream.readline(self._longest + 1)
        if len(raw) > self._longest:
            self.too_long = True
            while raw and not raw.endswith(b"\n"):
                raw = self._stream.readline(self._longest)
            return "\n" if self.of_record else "too long\n"
        if not raw:
            raise StopIteration
        return raw.decode("utf-8", errors="surrogateescape")

    def start_record(self) -> None:
        self.of_record, self.too_long = [], False

    def give_back_all_but_first(self) -> None:
        """Read the lines again that an unclosed quote took in."""
        self._waiting.extendleft(reversed(self.of_record[1:]))


def csv_rows(stream: Readable, longest: int) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Yield (record number, row or the reason there is none); the record under the header is number 1.

    Raises:
        InvalidInput: the header cannot be used.
    """
    lines = _Lines(stream, longest)
    header, delimiter = _header(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    while True:
        lines.start_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back_all_but_first()
            number += 1
            yield number, RowError(f"not CSV: {error}")
            continue
        if cells:
            number += 1
            yield number, _row(header, cells, RowError("a line is too long") if lines.too_long else None)


def _row(header: list[str], cells: list[str], problem: RowError | None) -> dict[str, Any] | RowError:
    if problem:
        return problem
    if len(cells) != len(header):
        return RowError(f"{len(cells)} columns where the header has {len(header)}")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return RowError("not UTF-8")
    return dict(zip(header, map(_cell, cells), strict=True))


def _cell(text: str) -> Any:
    """A cell's text, or the messages where it is the JSON of some: our own exports put them like that."""
    if not (text.startswith("[{") and text.endswith("}]")):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if all(isinstance(turn, dict) and _MESSAGE_KEYS & turn.keys() for turn in value) else text


def _header(lines: _Lines) -> tuple[list[str], str]:
    first = next(lines, "").removeprefix("\ufeff")
    delimiter = max(DELIMITERS, key=first.count)
    try:
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
        "".join(header).encode()
    except UnicodeEncodeError:
        raise bad_file("The CSV's header is not UTF-8. Save the file as UTF-8.") from None
    except csv.Error as error:
        raise bad_file(f"The CSV's header cannot be read: {error}.") from None
    if len(header) < 2:
        raise bad_file(
            "The file is neither JSON, JSONL, CSV nor Parquet; a CSV needs a header of column names."
        )
    header = [name.strip() for name in header]
    if len(set(header)) < len(header):
        raise bad_file("The CSV's header names a column twice. Rename one of them.")
    return header, delimiter
