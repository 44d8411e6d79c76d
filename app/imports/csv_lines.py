"""The lines of a CSV as text. The lines of the current record are buffered."""

import re
from collections import deque
from collections.abc import Iterator
from typing import Protocol

CHUNK_BYTES = 256 * 1024
HELD_LF = "\udc0a"
"""Replaces a line feed inside a line. No decoded text contains this lone surrogate."""

_BARE_CR = re.compile(rb"\r(?!\n)")
_CR_LINE = re.compile(rb"[^\r]*\r\n?|[^\r]+")


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self, size: int = -1, /) -> bytes: ...


def ends_in_cr(head: bytes) -> bool:
    """Whether a file's first line ends in a bare carriage return, as on old Macs."""
    unquoted = re.sub(rb'"[^"]*("|$)', b"", head)
    first = _BARE_CR.search(unquoted)
    return first is not None and b"\n" not in unquoted[: first.start()]


def lf_lines(stream: Readable, longest: int) -> Iterator[bytes | None]:
    """Yield lines that end in a line feed; None, without buffering, for one longer than `longest` bytes."""
    while line := stream.readline(longest + 1):
        if len(line) <= longest:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(longest)
        yield None


def cr_lines(stream: Readable, longest: int) -> Iterator[bytes | None]:
    """Yield lines that end in CR or CRLF; None for a line longer than `longest` bytes.

    A single line feed is part of its line: pandas writes line feeds of a cell without quotes.
    """
    begun, too_long = b"", False
    while chunk := stream.read(CHUNK_BYTES):
        lines = _CR_LINE.findall(begun + chunk)
        begun = b"" if lines[-1].endswith(b"\r\n") else lines.pop()
        for line in lines:
            yield None if too_long or len(line) > longest else line
            too_long = False
        if len(begun) > longest:
            begun, too_long = begun[-1:], True
    if begun:
        yield None if too_long else begun


def has_spaces_before_quotes(head: str, delimiter: str) -> bool:
    """Whether a CSV has spaces between its delimiter and a quoted cell: `a, "b, c"`."""
    mark = re.escape(delimiter)
    unquoted = re.sub(rf'(?:\A|(?<=[{mark}\r\n]))"(?:[^"]|"")*(?:"|\Z)', "", head)
    return re.search(rf'{mark} +"(?:[^"]|"")*" *(?:[{mark}\r\n]|\Z)', unquoted) is not None


def _held(line: str) -> str:
    """Replace the line feeds inside a line by `HELD_LF`; the line end is kept."""
    text = line.removesuffix("\r\n") if line.endswith("\r\n") else line.removesuffix("\r")
    if text == line:
        text = line.removesuffix("\n")
    return text.replace("\n", HELD_LF) + line[len(text) :]


class RecordLines:
    """Lines as text for a CSV reader. The lines of the current record can be read again.

    Bytes that are not UTF-8 become lone surrogates, and a line feed inside a line becomes `HELD_LF`. An
    overlong line is reduced to its line end and sets `too_long` for its record.
    """

    def __init__(self, lines: Iterator[bytes | None]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self.of_record: list[str] = []
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        self.of_record.append(line)
        return line

    def _read(self) -> str:
        raw = next(self._lines)
        if raw is None:
            self.too_long = True
            return "\n" if self.of_record else "too long\n"
        line = raw.decode("utf-8", errors="surrogateescape")
        return line if line.find("\n", 0, -1) < 0 and line.endswith("\n") else _held(line)

    def start_record(self) -> None:
        self.of_record, self.too_long = [], False

    def give_back(self, kept: int) -> None:
        """Push the record's lines back to be read again, except the first `kept`."""
        self._again.extendleft(reversed(self.of_record[kept:]))
        del self.of_record[kept:]
