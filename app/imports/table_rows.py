"""Rows of Parquet, Arrow and spreadsheet files, read by a separate process (`table_process.py`)."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from app.imports.csv_rows import Header
from app.imports.unpacked import GZIP_MAGIC, Budget, bad_file, open_unpacked
from hypo_engine.data.columns import ANSWERS
from hypo_engine.data.formats import BadCell, RowError

ZIP_MAGIC = b"PK\x03\x04"
_MAGICS = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",
    b"FEA1": "feather",
    ZIP_MAGIC: "zip",
    b"PK\x05\x06": "zip",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "sheet",
}
_WORKBOOKS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
_LAYOUTS = (
    *ANSWERS,
    ("output_1", "output_2"),
    ("response_a", "response_b"),
    ("response", "rejected_response"),
)
"""Answer columns that identify a sheet's header."""

_CHILD = Path(__file__).with_name("table_process.py")
_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TZDIR")

NumberedRow = tuple[int, dict[str, Any] | RowError]


def table_kind(head: bytes) -> str:
    """The kind of table that a file's first bytes indicate; "" for text and everything else."""
    return next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), "")


@contextmanager
def table_rows(
    path: Path, kind: str, longest: int, budget: Budget, remarks: list[str]
) -> Iterator[Iterator[NumberedRow]]:
    """Open a table as an iterator of numbered rows.

    Args:
        kind: the result of `table_kind`.
        remarks: receives the remarks for the file's owner.

    Raises:
        InvalidInput: the file is damaged, of an unsupported kind, or exceeds the budget.
    """
    if kind == "feather":
        raise bad_file("The file is Feather of version 1. Write it as version 2, or as Parquet.")
    with _seekable(path, budget.limit) as plain:
        if kind == "zip":
            _check_workbook(plain, budget.limit)
            kind = "sheet"
        with _reading(kind, plain) as process:
            lines = _lines(process, longest, budget)
            first = next(lines)
            if not isinstance(first, dict):
                raise _crashed()
            remarks += first["remarks"]
            header = Header(list(first["names"])) if kind == "sheet" else None
            remarks += header.remarks if header else []
            yield _rows(header, first["names"], lines, longest)


def is_workbook(archive: zipfile.ZipFile) -> bool:
    """Whether a zip archive is a spreadsheet."""
    return any(name in archive.namelist() for name in _WORKBOOKS)


def _check_workbook(path: Path, limit: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            if not is_workbook(archive):
                raise bad_file(
                    "The file is a zip archive inside another, or one that is not a spreadsheet. "
                    "Unpack it and add the file inside."
                )
            Budget(limit).spend(sum(entry.file_size for entry in archive.infolist()))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise bad_file("The file is a damaged zip archive or workbook. Copy or save it again.") from None


@contextmanager
def _seekable(path: Path, limit: int) -> Iterator[Path]:
    """The file itself, or its gunzipped copy in a temporary file."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    if not packed:
        yield path
        return
    with open_unpacked(path, Budget(limit)) as stream, tempfile.NamedTemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked, 2**20)
        unpacked.flush()
        yield Path(unpacked.name)


@contextmanager
def _reading(kind: str, path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-I", str(_CHILD), kind, str(path.resolve())]
    command += [json.dumps(_LAYOUTS)] if kind == "sheet" else []
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    with subprocess.Popen(
        command,
        env=inherited | _ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _lines(process: "subprocess.Popen[bytes]", longest: int, budget: Budget) -> Iterator[Any]:
    """Yield the process's output up to its last line; None for a row that is too long.

    Raises:
        InvalidInput: the process refuses the file, or ends without a last line.
    """
    stream: IO[bytes] | None = process.stdout
    assert stream is not None
    while line := stream.readline(longest + 4096):
        budget.spend(len(line))
        if not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(longest)
                budget.spend(len(line))
            yield None
            continue
        said = json.loads(line)
        if isinstance(said, dict) and "refused" in said:
            raise bad_file(said["refused"])
        if isinstance(said, dict) and "end" in said:
            return
        yield said
    raise _crashed()


def _crashed() -> Exception:
    return bad_file("The file cannot be read: it is damaged, or takes too much memory. Write it again.")


def _rows(
    header: Header | None, names: Sequence[str], lines: Iterator[Any], longest: int
) -> Iterator[NumberedRow]:
    number = 0
    for line in lines:
        if line is None:
            number += 1
            yield number, RowError(f"longer than {longest // 1024} KiB")
            continue
        number, cells, bad = line
        if "" in bad:
            yield number, RowError(bad[""])
        elif header:
            yield number, header.row(cells)
        else:
            reasons = {int(index): BadCell(reason) for index, reason in bad.items()}
            yield (
                number,
                {
                    name: reasons.get(index, cell)
                    for index, (name, cell) in enumerate(zip(names, cells, strict=True))
                },
            )
