"""Rows -> a JSONL, CSV or Parquet file, one row at a time.

In a CSV, what is nested becomes JSON text, and text that a spreadsheet would compute gets an apostrophe in
front (`app.csv_text`). JSONL and Parquet hold every text as it is.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.csv_text import escaped

ROWS_A_GROUP = 500

Row = Mapping[str, Any]


class FileType(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def write_rows(path: Path, rows: Iterable[Row], file_type: FileType, schema: pa.Schema) -> int:
    """Write rows, all of which have the schema's columns, to a file that appears only when it is complete.

    Returns:
        How many rows were written.
    """
    write = {FileType.JSONL: _write_jsonl, FileType.CSV: _write_csv, FileType.PARQUET: _write_parquet}
    with _appearing(path) as unfinished:
        return write[file_type](unfinished, rows, schema)


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    unfinished = path.with_name(f".{path.name}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_jsonl(path: Path, rows: Iterable[Row], _schema: pa.Schema) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    return written


def _write_csv(path: Path, rows: Iterable[Row], schema: pa.Schema) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)  # its line end of two characters has it quote cells with either of them
        writer.writerow(schema.names)
        for row in rows:
            writer.writerow([_cell(row[name]) for name in schema.names])
            written += 1
    return written


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return escaped(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _write_parquet(path: Path, rows: Iterable[Row], schema: pa.Schema) -> int:
    written, waiting = 0, iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(waiting, ROWS_A_GROUP)):
            writer.write_table(pa.Table.from_pylist([dict(row) for row in group], schema=schema))
            written += len(group)
    return written
