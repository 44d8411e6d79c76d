"""Resolve an import path to the files to read: a single file, or those of a folder or a zip archive.

Only the files that are read are extracted from an archive, under sanitized names in a temporary folder.
"""

import errno
import json
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Final

from app.errors import InvalidInput, NotFound
from app.imports.splits import (
    NO_ROWS,
    readable_files,
    split_of,
    splits_of,
    training_files,
    without_common_folder,
)
from app.imports.table_rows import ZIP_MAGIC, is_workbook
from app.imports.unpacked import Budget, bad_file

MOST_FILES = 10_000
MOST_DIRECTORY_BYTES = 16 * 2**20
MOST_STATE_BYTES = 2**20
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_END_OF_ZIP: Final = b"PK\x05\x06"
_LONGEST_COMMENT: Final = 2**16
_DAMAGED: Final = "The zip archive is damaged. Copy it again, or zip the files again."


@dataclass(frozen=True, slots=True)
class Source:
    """Files to read as one dataset, the available splits, and remarks on the choice."""

    paths: list[Path]
    splits: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@contextmanager
def source_files(path: Path, *, split: str = "", limit: int) -> Iterator[Source]:
    """Resolve a path to the files to read.

    Args:
        split: the split to read; the training split when empty.
        limit: maximum unpacked size of a zip archive, in bytes.

    Raises:
        NotFound: there is no such file or folder.
        InvalidInput: no readable file, an unknown split, or a damaged or unsafe archive.
    """
    if path.is_dir():
        yield _of_folder(path, split)
    elif _is_archive(path):
        with tempfile.TemporaryDirectory() as folder:
            yield _of_archive(path, split, limit, Path(folder))
    elif split:
        raise InvalidInput("A single file has no splits. Leave the split empty.", field="split")
    else:
        yield Source([path])


def _of_folder(folder: Path, split: str) -> Source:
    names = [path.relative_to(folder).as_posix() for path in _files_below(folder)]

    def content(name: str) -> bytes:
        with (folder / name).open("rb") as file:
            return file.read(MOST_STATE_BYTES)

    wanted, splits, remarks = _chosen(names, split, content, "The folder")
    return Source([folder / name for name in wanted], splits, remarks)


def _files_below(folder: Path) -> Iterator[Path]:
    count = 0
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            count += 1
            if count > MOST_FILES:
                raise bad_file(
                    f"The folder holds more than {MOST_FILES:,} files. Give the file that contains the data."
                )
            if (path := Path(here, name)).is_file():
                yield path


def _chosen(
    names: Collection[str], split: str, content: Callable[[str], bytes], what: str
) -> tuple[list[str], list[str], list[str]]:
    """The files to read out of many, the available splits, and the remarks."""
    readable = readable_files(names)
    stale = _stale(names, content)
    below = without_common_folder([name for name in readable if name not in stale])
    if not below:
        raise bad_file(f"{what} holds no JSON, JSONL, CSV, Excel, Parquet or Arrow file.")
    wanted = training_files(below, split.strip())
    saved = _saved_splits(names, below)
    splits = sorted({*splits_of(below), *saved.values()})
    if len({saved.get(below[name], "") for name in wanted}) > 1:
        raise InvalidInput(
            f"{what} holds the splits {', '.join(splits)} and no training split. Name one of them.",
            field="split",
        )
    read = split_of(wanted[0])
    words = (
        f"Of {what.replace('The', 'the', 1)}, {_listed(wanted)} {'was' if len(wanted) == 1 else 'were'} read"
    )
    left = sorted(set(below) - set(wanted))
    remarks = [
        words + (f" (split {read})" if read else "") + (f", not {_listed(left)}." if left else "."),
    ]
    return [below[name] for name in wanted], splits, remarks


def _saved_splits(names: Collection[str], below: Mapping[str, str]) -> dict[str, str]:
    """The split of each file written by `save_to_disk`: the name of its folder, if there are several."""
    folders = {PurePosixPath(name).parent for name in names if PurePosixPath(name).name == "state.json"}
    if len(folders) < 2:
        return {}
    parents = {name: PurePosixPath(name).parent for name in below.values()}
    return {name: parent.name for name, parent in parents.items() if parent in folders}


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more files"


def _stale(names: Collection[str], content: Callable[[str], bytes]) -> set[str]:
    """Arrow files not listed in a saved dataset's state.json, such as those of a cache."""
    stale: set[str] = set()
    for state in (name for name in names if PurePosixPath(name).name == "state.json"):
        folder = PurePosixPath(state).parent
        try:
            entries = json.loads(content(state))["_data_files"]
            current = {str(folder / PurePosixPath(entry["filename"]).name) for entry in entries}
        except (ValueError, KeyError, TypeError, OSError, RecursionError):
            continue
        here = {name for name in names if PurePosixPath(name).parent == folder and name.endswith(".arrow")}
        stale |= here - current if here & current else set()
    return stale


# Zip archives.


def _is_archive(path: Path) -> bool:
    """Whether a file is a zip archive other than a workbook."""
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith((ZIP_MAGIC, _END_OF_ZIP)):
                return False
        with _opened(path) as archive:
            return not is_workbook(archive)
    except OSError as error:
        raise bad_file(f"The file {path.name} cannot be opened: {error.strerror}.") from error


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive. Any problem with it, also inside the block, raises InvalidInput."""
    try:
        with path.open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                yield archive
    except NotImplementedError:
        raise bad_file("The zip archive uses an unsupported compression. Use deflate.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error):
        raise bad_file(_DAMAGED) from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise bad_file(_DAMAGED) from None  # an offset in it is negative


def _check_directory(file: IO[bytes]) -> None:
    """Refuse an archive with a huge central directory, which `zipfile` would read into memory at once."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_COMMENT - 22 - 20 - 56))
    end = file.read()
    at = end.rfind(_END_OF_ZIP)
    if at < 0:
        raise zipfile.BadZipFile
    sizes = [int.from_bytes(end[at + 12 : at + 16], "little")]
    locator = end[max(0, at - 20) : at]
    if locator.startswith(b"PK\x06\x07"):
        sizes = [int.from_bytes(end[max(0, at - 76) : at - 20][40:48], "little")]
        file.seek(min(size, int.from_bytes(locator[8:16], "little")))
        sizes.append(int.from_bytes(file.read(56)[40:48], "little"))
    if max(sizes) > MOST_DIRECTORY_BYTES:
        raise bad_file(f"The zip archive holds more than {MOST_FILES:,} files.")
    file.seek(0)


def _of_archive(path: Path, split: str, limit: int, folder: Path) -> Source:
    with _opened(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
        if len(entries) > MOST_FILES:
            raise bad_file(f"The zip archive holds more than {MOST_FILES:,} files.")
        for entry in entries.values():
            _check_entry(entry)

        def content(name: str) -> bytes:
            with archive.open(entries[name]) as file:
                return file.read(MOST_STATE_BYTES)

        wanted, splits, remarks = _chosen(list(entries), split, content, "The zip archive")
        Budget(limit).spend(sum(entries[name].file_size for name in wanted))
        budget = Budget(limit)
        paths = [
            _unpack(archive, entries[name], folder / f"{number:05}", budget)
            for number, name in enumerate(wanted)
        ]
    return Source(paths, splits, remarks)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    named = repr(entry.filename[:100])
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", entry.filename):
        raise bad_file(
            f"The zip archive contains a path that leads out of it: {named}. Zip the folder again."
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise bad_file(f"The zip archive holds a link: {named}. Zip the files themselves.")
    if entry.flag_bits & 0x1:
        raise bad_file("The zip archive is protected by a password. Zip it without one.")
    if path.name.lower().endswith(_ARCHIVES) and not NO_ROWS.search(entry.filename):
        raise bad_file(f"The zip archive holds another archive: {named}. Unpack that first.")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, budget: Budget) -> Path:
    """Extract one file of an archive, counting the bytes actually written."""
    folder.mkdir()
    name = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(entry.filename).name)[-60:]
    target = folder / name
    with archive.open(entry) as packed, target.open("wb") as file:
        while chunk := packed.read(2**20):
            budget.spend(len(chunk))
            file.write(chunk)
    return target
