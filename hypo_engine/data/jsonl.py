"""Lines of JSON -> numbered rows, one at a time, with a reason for each invalid line. No torch here."""

import json
from collections.abc import Iterator
from typing import Any, Protocol

from hypo_engine.data.rows import RowError

LONGEST_ROW_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Readable(Protocol):
    """A binary stream that is read line by line."""

    def readline(self, size: int = -1, /) -> bytes: ...


def parse_row(raw: bytes) -> Any:
    """Parse one JSON value.

    Raises:
        RowError: the bytes are not UTF-8, not JSON, nested too deeply, or have a duplicate key.
    """
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise RowError("nested too deeply") from None
    except json.JSONDecodeError as error:
        said = error.msg.removesuffix(" at")  # "Unterminated string starting at"
        raise RowError(f"not JSON: {said} at character {error.pos + 1}") from None
    except ValueError:
        raise RowError("not JSON: a number with too many digits") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if found[name] != value:
                raise RowError(f"{name} appears twice with different values; keep one of them")
    return found


def jsonl_rows(stream: Readable, longest: int = LONGEST_ROW_BYTES) -> Iterator[tuple[int, Any | RowError]]:
    """Yield (line number, value or RowError); blank lines are counted but not yielded.

    Args:
        stream: read a line at a time; a line longer than `longest` bytes is skipped without being kept in
            memory.
    """
    for number, line in enumerate(iter(lambda: stream.readline(longest + 1), b""), start=1):
        if len(line) > longest:
            _skip_line(stream, line, longest)
            yield number, RowError(f"longer than {longest // 1024} KiB")
            continue
        raw = line.removeprefix(_BOM).strip()  # concatenated files have several
        if raw.endswith(b"},"):  # some writers put a comma between lines, and no JSON value ends in one
            raw = raw[:-1]
        if not raw:
            continue
        try:
            yield number, parse_row(raw)
        except RowError as error:
            yield number, error


def _skip_line(stream: Readable, line: bytes, longest: int) -> None:
    while line and not line.endswith(b"\n"):
        line = stream.readline(longest)
