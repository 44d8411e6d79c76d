"""A list of JSON objects, streamed: one element is held at a time, and a bad element costs only itself.

The scanner knows strings and brackets and nothing else; every element is then parsed alone. That is why a
row that is not UTF-8 or nested too deep has a number and a reason instead of ending the file.
"""

import re
from collections.abc import Iterator
from typing import Any, Protocol

from app.imports.unpacked import bad_file
from hypo_engine.formats import RowError
from hypo_engine.jsonl import parse_row

LIST_NAMES = ("data", "rows", "train", "examples", "items", "pairs")
CHUNK_BYTES = 256 * 1024
_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_LABEL = re.compile(rb'\s*"(%s)"\s*:\s*' % "|".join(LIST_NAMES).encode())


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def list_rows(stream: Readable, longest: int) -> Iterator[tuple[int, Any | RowError]]:
    """Yield (number from 1, value or the reason there is none) for each element of the list.

    The list is the whole file, or stands in an object under one of LIST_NAMES. Elements longer than
    `longest` bytes are skipped without being held.

    Raises:
        InvalidInput: there is no such list, or the file ends inside it.
    """
    marks = _marks(stream)
    wrapped = _enter_list(marks)
    number = 0
    for number, raw in enumerate(_elements(marks, longest), start=1):
        try:
            yield number, _parsed(raw, longest)
        except RowError as error:
            yield number, error
    rest = b"".join(span.strip() + mark for span, mark in marks if not wrapped)
    if rest:
        raise bad_file(f"There is more after the end of the list, after row {number}. Make it one list.")


def _parsed(raw: bytearray | None, longest: int) -> Any:
    if raw is None:
        raise RowError(f"longer than {longest // 1024} KiB")
    return parse_row(bytes(raw).strip())


def _marks(stream: Readable) -> Iterator[tuple[bytes, bytes]]:
    """(bytes before, mark) for each bracket or comma outside strings; at a chunk's end the mark is b""."""
    in_string = escaped = False
    while chunk := stream.read(CHUNK_BYTES):
        start, position, escaped = 0, int(escaped), False
        while position < len(chunk):
            if in_string:
                inside = _INSIDE.match(chunk, position)
                position = inside.end() if inside else position
                in_string = chunk[position : position + 1] != b'"'
                escaped = chunk[position : position + 1] == b"\\"
                position = len(chunk) if in_string else position + 1
                continue
            found = _OUTSIDE.search(chunk, position)
            position = found.end() if found else len(chunk)
            if found and found[0] == b'"':
                in_string = True
            elif found:
                yield chunk[start : found.start()], found[0]
                start = position
        yield chunk[start:], b""


def _enter_list(marks: Iterator[tuple[bytes, bytes]]) -> bool:
    """Go to just behind the bracket that opens the list of rows; say whether it stands in an object."""
    depth, label = 0, b""
    for span, mark in marks:
        label = (label + span)[:1000] if depth <= 1 else b""
        if mark == b"[" and depth == 0:
            return False
        if mark == b"[" and depth == 1 and _LABEL.fullmatch(label):
            return True
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        if mark:
            label = b""
    raise bad_file(
        "The JSON holds one object and no list of rows. "
        "Make it a list of objects, or write one object a line."
    )


def _elements(marks: Iterator[tuple[bytes, bytes]], longest: int) -> Iterator[bytearray | None]:
    """Yield the bytes of each element of the list that was entered; None for one that is too long."""
    held, size, depth, count = bytearray(), 0, 0, 0
    for span, mark in marks:
        size += len(span) + len(mark)
        held += span if size <= longest else b""
        if depth == 0 and mark in (b",", b"]"):
            if mark == b"," or size > longest or held.strip():
                count += 1
                yield held if size <= longest else None
            if mark == b"]":
                return
            held, size = bytearray(), 0
            continue
        held += mark if size <= longest else b""
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth = max(0, depth - 1)
    raise bad_file(
        f"The JSON list is not closed: it breaks off in or after row {count + 1}. Nothing was added."
    )
