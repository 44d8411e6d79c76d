"""Streaming JSON scanner that splits a text at brackets and commas outside strings.

Each element is parsed separately afterwards. A row that is not UTF-8 or nested too deeply thus gets a number
and a reason instead of ending the file.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

CHUNK_BYTES = 256 * 1024
LONGEST_NAME = 4096
_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_NAME = re.compile(rb'\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")\s*:\s*', re.DOTALL)

OPENING = (b"[", b"{")
CLOSING = (b"]", b"}")

Marks = Iterator[tuple[bytes, bytes]]


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class NotClosed(Exception):
    """The text ends before a bracket is closed."""


class NotJson(Exception):
    """The text is not JSON, whatever follows."""


def marks(stream: Readable, *, strict: bool = False) -> Marks:
    """Yield (bytes before, mark) for each bracket or comma outside strings; b"" marks the end of a chunk.

    Raises:
        NotJson: with `strict`, a string contains a line feed.
    """
    in_string = escaped = False
    while chunk := stream.read(CHUNK_BYTES):
        start, position, escaped = 0, int(escaped), False
        while position < len(chunk):
            if in_string:
                inside = _INSIDE.match(chunk, position)
                end = inside.end() if inside else position
                if strict and chunk.find(b"\n", position, end) >= 0:
                    raise NotJson
                in_string = chunk[end : end + 1] != b'"'
                escaped = chunk[end : end + 1] == b"\\"
                position = len(chunk) if in_string else end + 1
                continue
            found = _OUTSIDE.search(chunk, position)
            position = found.end() if found else len(chunk)
            if found and found[0] == b'"':
                in_string = True
            elif found:
                yield chunk[start : found.start()], found[0]
                start = position
        yield chunk[start:], b""


def name_of(label: bytes) -> tuple[str, bytes] | None:
    """The name of an object's member and the bytes after its colon; None without a name."""
    found = _NAME.match(label)
    try:
        return (json.loads(found[1]), label[found.end() :]) if found else None
    except ValueError:
        return None


def skip(within: Marks) -> None:
    """Advance past the bracket that closes the last opened one.

    Raises:
        NotClosed: the text ends before it.
    """
    depth = 1
    for _, mark in within:
        depth += (mark in OPENING) - (mark in CLOSING)
        if depth == 0:
            return
    raise NotClosed


def enter(within: Marks, path: Sequence[str]) -> None:
    """Advance past the opening bracket of the whole value, or of the value under a path of names.

    Raises:
        NotClosed: there is no such value.
    """
    if not any(mark in OPENING for _, mark in within):
        raise NotClosed
    for name in path:
        for found in members(within):
            if found == name:
                break
            skip(within)
        else:
            raise NotClosed


def members(within: Marks) -> Iterator[str]:
    """Yield the name of each list or object in the entered object, positioned past its opening bracket.

    The caller must consume each value before it requests the next name.

    Raises:
        NotClosed: the text ends before the closing bracket.
    """
    label = b""
    for span, mark in within:
        label = (label + span)[:LONGEST_NAME]
        if mark in OPENING:
            found = name_of(label)
            yield found[0] if found else ""
        elif mark in CLOSING:
            return
        label = b"" if mark else label
    raise NotClosed


def elements(within: Marks, longest: int) -> Iterator[bytes | None]:
    """Yield the bytes of each element of the entered list, or member of the entered object.

    An element of more than `longest` bytes is yielded as None and not buffered.

    Raises:
        NotClosed: the text ends before the closing bracket.
    """
    held, size, depth = bytearray(), 0, 0
    for span, mark in within:
        size += len(span) + len(mark)
        held += span if size <= longest else b""
        if depth == 0 and (mark == b"," or mark in CLOSING):
            if mark == b"," or size > longest or held.strip():
                yield bytes(held).strip() if size <= longest else None
            if mark != b",":
                return
            held, size = bytearray(), 0
            continue
        held += mark if size <= longest else b""
        depth = max(0, depth + (mark in OPENING) - (mark in CLOSING))
    raise NotClosed


def sequence(within: Marks, longest: int) -> Iterator[bytes | None]:
    """Yield the bytes of each of several consecutive values, with or without commas between them.

    Raises:
        NotClosed: the text ends inside a value.
    """
    held, size, depth = bytearray(), 0, 0
    for span, mark in within:
        size += len(span) + len(mark)
        held += span if size <= longest else b""
        if depth == 0 and (mark == b"," or (mark in OPENING and held.strip())):
            if held.strip():
                yield bytes(held).strip()
            held, size = bytearray(), len(mark)
        held += mark if size <= longest and (mark != b"," or depth) else b""
        depth = max(0, depth + (mark in OPENING) - (mark in CLOSING))
        if depth == 0 and mark in CLOSING:
            yield bytes(held).strip() if size <= longest else None
            held, size = bytearray(), 0
    if depth:
        raise NotClosed
    if held.strip():
        yield bytes(held).strip()
