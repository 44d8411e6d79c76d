"""Stream any accepted file as numbered rows. The bytes determine the kind; the name is at most a hint."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.imports.csv_rows import csv_rows
from app.imports.json_rows import json_rows
from app.imports.json_shape import Layout, shape_of
from app.imports.table_rows import table_kind, table_rows
from app.imports.text_encoding import Encoding, encoding_of, open_text
from app.imports.unpacked import GZIP_MAGIC, PEEK_BYTES, Budget, bad_file, open_unpacked
from app.settings import Settings
from hypo_engine.data.formats import RowError
from hypo_engine.data.jsonl import LONGEST_ROW_BYTES, jsonl_rows

SNIFFED_BYTES = 64 * 1024

NumberedRow = tuple[int, Any | RowError]

_PACKED = {
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"(\xb5/\xfd": "compressed with zstd",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    GZIP_MAGIC: "compressed with gzip twice",
}
_TAR_MAGIC = (257, b"ustar")
_LINE_OF_JSON = re.compile(rb"(?m)^\s*[{\[]\s*[\"{}\[\]]")
_COLUMNS = re.compile(rb"\s*[^\r\n]*[,;\t|]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one import."""

    max_bytes: int
    max_rows: int
    longest_row: int = LONGEST_ROW_BYTES

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(max_bytes=settings.max_upload_mb * 2**20, max_rows=settings.max_dataset_rows)


@dataclass(slots=True)
class Rows:
    """The numbered rows of a file, and remarks on how it was read."""

    numbered: Iterator[NumberedRow]
    remarks: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[NumberedRow]:
        return self.numbered


@contextmanager
def open_rows(path: Path, limits: Limits, budget: Budget | None = None) -> Iterator[Rows]:
    """Open a file of any kind, gzipped or not, as an iterator of numbered rows.

    Args:
        budget: the unpacked bytes left to an import of several files.

    Raises:
        NotFound: there is no such file.
        InvalidInput: on opening or while reading, when the file as a whole is unusable.
    """
    budget = budget or Budget(limits.max_bytes)
    with open_unpacked(path, Budget(limits.max_bytes)) as stream:
        head = stream.peek(PEEK_BYTES)[:SNIFFED_BYTES]
    kind = table_kind(head)
    if kind:
        remarks: list[str] = []
        with table_rows(path, kind, limits.longest_row, budget, remarks) as rows:
            yield Rows(rows, remarks)
        return
    _refuse_packed(head)
    encoding = encoding_of(path, limits.max_bytes)
    said = [encoding.remark] if encoding.remark else []
    with _text_rows(path, encoding, limits, budget, said) as rows:
        yield Rows(rows, said)


def _refuse_packed(head: bytes) -> None:
    for magic, what in _PACKED.items():
        if head.startswith(magic):
            raise bad_file(f"The file is {what}. Unpack it and add the file inside.")
    start, magic = _TAR_MAGIC
    if head[start : start + len(magic)] == magic:
        raise bad_file("The file is a tar archive. Unpack it, and add the file or a zip of the folder.")


@contextmanager
def _text_rows(
    path: Path, encoding: Encoding, limits: Limits, budget: Budget, remarks: list[str]
) -> Iterator[Iterator[NumberedRow]]:
    def opened(spent: Budget | None = None) -> AbstractContextManager[Any]:
        return open_text(path, spent or Budget(limits.max_bytes), encoding)

    with opened() as text:
        head = text.peek(PEEK_BYTES)[:SNIFFED_BYTES]
    begun = head.lstrip()
    if not begun:
        raise bad_file("The file is empty.")
    lines = path.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    if begun[:1] in (b"{", b"["):
        with opened() as text:
            shape = shape_of(text, named_lines=lines)
        if shape.beside:
            others = ", ".join(shape.beside[:5])
            remarks.append(f"Of the JSON, {'.'.join(shape.path)} was read, not {others}.")
        if shape.layout is not Layout.LINES:
            yield json_rows(opened, shape, limits.longest_row, budget)
            return
        lines = True
    elif lines and not _LINE_OF_JSON.search(head):  # despite its name
        lines = not (_COLUMNS.match(begun) or _is_binary(head))
    if not lines and _is_binary(head):
        raise bad_file("The file is binary and neither JSON, JSONL, CSV, Excel, Parquet nor Arrow.")
    with opened(budget) as text:
        if lines:
            yield jsonl_rows(text, limits.longest_row)
        else:
            yield csv_rows(text, limits.longest_row, head=head, remarks=remarks)


def _is_binary(head: bytes) -> bool:
    """Whether there are more control characters than a few damaged cells would contain."""
    share = len(_CONTROL.findall(head)) / len(head)
    try:
        head[:-3].decode()
    except UnicodeDecodeError:
        return share > 0.02
    return share > 0.2
