"""Any file we take -> numbered rows, streamed. A file's bytes say what it is; its name is a hint at most."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.imports.csv_rows import csv_rows
from app.imports.json_list import LIST_NAMES, list_rows
from app.imports.parquet_rows import PARQUET_MAGIC, parquet_rows
from app.imports.unpacked import GZIP_MAGIC, PEEK_BYTES, bad_file, open_unpacked
from app.settings import Settings
from hypo_engine.formats import RowError
from hypo_engine.jsonl import LONGEST_ROW_BYTES, jsonl_rows

SNIFFED_BYTES = 64 * 1024

NumberedRow = tuple[int, Any | RowError]

_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"(\xb5/\xfd": "packed with zstd",
    b"7z\xbc\xaf": "a 7-Zip archive",
    GZIP_MAGIC: "packed with gzip twice",
}
_WIDE_TEXT = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_BOM = b"\xef\xbb\xbf"
_WRAPPED_LIST = re.compile(rb'\{\s*"(%s)"\s*:\s*\[' % "|".join(LIST_NAMES).encode())
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one import may cost."""

    max_bytes: int
    max_rows: int
    longest_row: int = LONGEST_ROW_BYTES

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(max_bytes=settings.max_upload_mb * 2**20, max_rows=settings.max_dataset_rows)


@contextmanager
def open_rows(path: Path, limits: Limits) -> Iterator[Iterator[NumberedRow]]:
    """Open a JSON, JSONL, CSV or Parquet file, gzipped or not, as an iterator of numbered rows.

    Raises:
        NotFound: there is no such file.
        InvalidInput: at once or while reading, when the file cannot be used as a whole.
    """
    with open_unpacked(path, limits.max_bytes) as stream:
        head = stream.peek(PEEK_BYTES)[:SNIFFED_BYTES]
        kind = _kind(head, path.name)
        if kind == "parquet":
            rows: Iterator[NumberedRow] = parquet_rows(path, limits.max_bytes)
        elif kind == "json":
            rows = list_rows(stream, limits.longest_row)
        elif kind == "jsonl":
            rows = jsonl_rows(stream, limits.longest_row)
        else:
            rows = csv_rows(stream, limits.longest_row)
        yield rows


def _kind(head: bytes, file_name: str) -> str:
    """`parquet`, `json`, `jsonl` or `csv`, judged by the first bytes."""
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    for magic, what in _PACKED.items():
        if head.startswith(magic):
            raise bad_file(f"The file is {what}. Unpack it and add the file inside.")
    if head.startswith(_WIDE_TEXT):
        raise bad_file("The file is UTF-16 or UTF-32 text. Save it as UTF-8.")
    text = head.removeprefix(_BOM).lstrip()
    if not text:
        raise bad_file("The file is empty.")
    named_jsonl = file_name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    if text[:1] in (b"{", b"["):
        return _json_kind(text, named_jsonl)
    if named_jsonl:
        return "jsonl"
    if _CONTROL.search(text):
        raise bad_file("The file is binary. JSON, JSONL, CSV and Parquet are taken, also gzipped.")
    return "csv"


def _json_kind(text: bytes, named_jsonl: bool) -> str:
    """Whether JSON is one list (possibly in an object), or a value a line."""
    lines = [line.strip() for line in text.split(b"\n") if line.strip()]
    first = _parsed(lines[0])
    if text[:1] == b"[":
        return "jsonl" if len(lines) > 1 and first is not None else "json"
    if _WRAPPED_LIST.match(text):
        return "json"
    if len(lines) == 1 and isinstance(first, dict):
        return "json" if any(isinstance(first.get(name), list) for name in LIST_NAMES) else "jsonl"
    if named_jsonl or len(lines) == 1 or any(isinstance(_parsed(line), dict) for line in lines[:50]):
        return "jsonl"
    return "json"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
