"""The folder of cached reference scores: one writer at a time, files in use kept, a bound on the bytes.

Any number of runs share the folder, so whatever changes it holds its lock for that while. A run marks the
file it reads by a locked file beside it: the system lets go of the lock when the process ends, however
that happens, so a mark that can be locked belongs to nobody. No torch here.
"""

import os
import secrets
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from hypo_engine.errors import ConfigError

DEFAULT_MAX_BYTES = 10 * 2**30
MAX_BYTES_VARIABLE = "HYPO_REFERENCE_CACHE_MAX_BYTES"
TENSOR = "logps"

_FILES = "reference-*.safetensors"
_LOCK = ".lock"
_MARK = ".use"
_PATIENCE = 30.0
"""Seconds to wait for another writer: a write takes milliseconds, but a process may be frozen in it."""


@dataclass(frozen=True, slots=True)
class CacheFile:
    """One file of cached reference scores.

    Attributes:
        model: The base model's name, as the run that made the file gave it; empty where it is not known.
        pairs: Pairs the file has room for; 0 for a damaged file.
        filled: Pairs that are scored; None where the file does not say.
        last_used: When a run last opened or wrote it.
        in_use: Whether a run has it open now.
    """

    path: Path
    bytes: int
    model: str
    pairs: int
    filled: int | None
    last_used: datetime
    in_use: bool

    @property
    def name(self) -> str:
        """What people call the file: the beginning of its key."""
        return self.path.stem.removeprefix("reference-")[:12]


class UseMark:
    """Says that this process uses a file, until :meth:`release`, its deletion or the process's end."""

    def __init__(self, path: Path) -> None:
        """Mark the cache file ``path``; call it with the folder locked. Raises OSError."""
        mark = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{_MARK}")
        lock = FileLock(mark, timeout=5, thread_local=False)  # who looks for marks holds them for a moment
        lock.acquire()
        self.release = weakref.finalize(self, _drop, lock, mark)


def _drop(lock: FileLock, mark: Path) -> None:
    mark.unlink(missing_ok=True)
    lock.release(force=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; it is made if it is not there.

    Raises:
        OSError: the folder cannot be written, or (TimeoutError) another process does not let go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=_PATIENCE, thread_local=False)
    try:
        lock.acquire()
    except NotImplementedError as error:  # a file system without locks
        raise OSError(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def cache_limit(environment: Mapping[str, str] = os.environ) -> int:
    """The most bytes that the files of a folder may take together.

    Raises:
        ConfigError: the environment variable holds no number of bytes.
    """
    text = environment.get(MAX_BYTES_VARIABLE, "").strip()
    if not text:
        return DEFAULT_MAX_BYTES
    if not text.isdecimal():
        raise ConfigError(f"{MAX_BYTES_VARIABLE} is set to {text!r}; give a number of bytes.")
    return int(text)


def list_files(folder: Path) -> list[CacheFile]:
    """The files of a folder, last used first; a folder that is not there has none."""
    found = (_look_at(path) for path in folder.glob(_FILES))
    return sorted((file for file in found if file), key=lambda file: file.last_used, reverse=True)


def remove_files(folder: Path, *, unused_since: datetime | None = None) -> tuple[list[CacheFile], int]:
    """Delete files that no run has open.

    Args:
        unused_since: Only those last used before this moment; None takes all.

    Returns:
        The files deleted, and how many were kept because a run has them open.

    Raises:
        OSError: the folder cannot be locked or a file not deleted.
    """
    if not folder.is_dir():
        return [], 0
    with locked(folder):
        wanted = [f for f in list_files(folder) if unused_since is None or f.last_used < unused_since]
        gone = [file for file in wanted if not file.in_use]
        for file in gone:
            file.path.unlink(missing_ok=True)
    return gone, len(wanted) - len(gone)


def tidy(folder: Path, max_bytes: int) -> None:
    """Delete what dead processes left, and the longest unused files beyond a number of bytes.

    Call it with the folder locked: nobody else writes then. A file that a run has open stays.
    """
    for orphan in folder.glob(".reference-*"):
        if orphan.suffix != _MARK or not _is_locked(orphan):
            orphan.unlink(missing_ok=True)
    sizes = {path: _stat(path) for path in folder.glob(_FILES)}
    known = sorted((s.st_mtime, path, s.st_size) for path, s in sizes.items() if s)
    total = sum(size for _, _, size in known)
    for _, path, size in known:
        if total <= max_bytes:
            return
        if not _in_use(path):
            path.unlink(missing_ok=True)
            total -= size


def _look_at(path: Path) -> CacheFile | None:
    if (stat := _stat(path)) is None:  # deleted meanwhile
        return None
    said: dict[str, str] = {}
    pairs = 0
    try:
        with safe_open(path, framework="np") as file:
            said = dict(file.metadata() or {})
            pairs = int(file.get_slice(TENSOR).get_shape()[0])
    except (SafetensorError, OSError):
        pass  # a damaged file is shown with nothing in it, so that it can be cleared
    filled = said.get("filled", "")
    return CacheFile(
        path=path,
        bytes=stat.st_size,
        model=said.get("model", ""),
        pairs=pairs,
        filled=int(filled) if filled.isdecimal() else None,
        last_used=datetime.fromtimestamp(stat.st_mtime, UTC),
        in_use=_in_use(path),
    )


def _in_use(path: Path) -> bool:
    return any(_is_locked(mark) for mark in path.parent.glob(f".{path.stem}-*{_MARK}"))


def _is_locked(mark: Path) -> bool:
    """Whether somebody holds a mark; trying takes it for a moment."""
    try:
        with FileLock(mark, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except OSError:
        return mark.exists()


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None
