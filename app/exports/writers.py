"""Write rows to a JSONL, CSV or Parquet file, a few rows at a time.

In a CSV, nested values become JSON text, and text that a spreadsheet would run as a formula is escaped
(`app.csv_text`). JSONL and Parquet keep every text unchanged.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.csv_text import escaped

ROWS_A_GROUP = 500
LINES_A_PIECE = 100
"""Rows per row group of a Parquet file, and rows per write for the other file types."""

Row = Mapping[str, Any]


class FileType(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def encoded(rows: Iterable[Row], file_type: FileType, schema: pa.Schema) -> Iterator[bytes]:
    """Yield a file of rows piece by piece, as the rows arrive. Every row has the schema's columns."""
    encode = {FileType.JSONL: _jsonl, FileType.CSV: _csv, FileType.PARQUET: _parquet}
    return encode[file_type](iter(rows), schema)


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Write pieces to a file that appears only once it is complete."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            file.writelines(pieces)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _groups(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while group := list(islice(rows, size)):
        yield group


def _jsonl(rows: Iterator[Row], _schema: pa.Schema) -> Iterator[bytes]:
    for group in _groups(rows, LINES_A_PIECE):
        yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in group).encode()


def _csv(rows: Iterator[Row], schema: pa.Schema) -> Iterator[bytes]:
    yield _csv_lines([schema.names])
    for group in _groups(rows, LINES_A_PIECE):
        yield _csv_lines([_cell(row[name]) for name in schema.names] for row in group)


def _csv_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)  # its CRLF line end makes it quote cells with either character
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return escaped(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _parquet(rows: Iterator[Row], schema: pa.Schema) -> Iterator[bytes]:
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _groups(rows, ROWS_A_GROUP):
            writer.write_table(pa.Table.from_pylist([dict(row) for row in group], schema=schema))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that buffers writes until they are taken; Parquet's writer never seeks back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
