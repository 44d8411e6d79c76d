"""Parquet rows, a batch at a time."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow
import pyarrow.parquet

from app.imports.unpacked import GZIP_MAGIC, bad_file, open_unpacked
from hypo_engine.formats import RowError

PARQUET_MAGIC = b"PAR1"
BATCH_ROWS = 256


def parquet_rows(path: Path, limit: int) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Yield (row number, row or the reason there is none).

    Raises:
        InvalidInput: the file is damaged or unpacks to more than `limit` bytes.
    """
    number = 0
    try:
        with _seekable(path, limit) as file, pyarrow.parquet.ParquetFile(file) as table:
            _check_size(table.metadata, limit)
            for batch in table.iter_batches(batch_size=BATCH_ROWS):
                for row in _rows_of(batch):
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        where = f" after row {number}" if number else ""
        detail = str(error).partition("\n")[0][:200]
        raise bad_file(
            f"The Parquet file cannot be read{where}: {detail}. Copy or write it again."
        ) from error


@contextmanager
def _seekable(path: Path, limit: int) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if file.read(2) != GZIP_MAGIC:
            file.seek(0)
            yield file
            return
    with open_unpacked(path, limit) as stream, tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked, 2**20)
        unpacked.seek(0)
        yield unpacked


def _check_size(metadata: Any, limit: int) -> None:
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if size > limit:
        raise bad_file(
            f"The Parquet file is larger than {limit // 2**20} MiB unpacked. "
            "Split it, or raise HYPO_MAX_UPLOAD_MB."
        )


def _rows_of(batch: Any) -> Iterator[dict[str, Any] | RowError]:
    """The rows of a batch; where a text is not UTF-8, the batch is read again row by row."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for index in range(batch.num_rows):
        try:
            yield batch.slice(index, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield RowError("not UTF-8")
