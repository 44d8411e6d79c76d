"""The cache folder of reference scores: one writer at a time, a size limit, and files in use are kept.

Any number of runs share the folder, so every change is made under its lock. A run marks a file as in use
by a locked file next to it. The system releases that lock when the process ends, however it ends, so a
mark that can be locked is stale. No torch here.
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
"""Seconds to wait for another writer; a write takes milliseconds, but its process may be frozen."""


@dataclass(frozen=True, slots=True)
class CacheFile:
    """One file of cached reference scores.

    Attributes:
        model: The base model's name as given by the run that created the file; empty if unknown.
        pairs: Capacity in pairs; 0 for a damaged file.
        filled: Number of scored pairs; None if the file does not state it.
        last_used: When a run last opened or wrote it.
        in_use: Whether a run has it open.
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
        """The display name: the beginning of its key."""
        return self.path.stem.removeprefix("reference-")[:12]


class UseMark:
    """Marks a file as used by this process until :meth:`release`, garbage collection or the process's end."""

    def __init__(self, path: Path) -> None:
        """Mark the cache file ``path``; the caller holds the folder's lock. Raises OSError."""
        mark = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{_MARK}")
        # a process that inspects marks locks them for a moment
        lock = FileLock(mark, timeout=5, thread_local=False)
        lock.acquire()
        self.release = weakref.finalize(self, _drop, lock, mark)


def _drop(lock: FileLock, mark: Path) -> None:
    mark.unlink(missing_ok=True)
    lock.release(force=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the folder is created if necessary.

    Raises:
        OSError: the folder is not writable, or (TimeoutError) another process does not release the lock.
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
    """Largest total size of a folder's files, in bytes.

    Raises:
        ConfigError: the environment variable is not a number of bytes.
    """
    text = environment.get(MAX_BYTES_VARIABLE, "").strip()
    if not text:
        return DEFAULT_MAX_BYTES
    if not text.isdecimal():
        raise ConfigError(f"{MAX_BYTES_VARIABLE} is set to {text!r}; give a number of bytes.")
    return int(text)


def list_files(folder: Path) -> list[CacheFile]:
    """The files of a folder, most recently used first; empty if the folder does not exist."""
    found = (_look_at(path) for path in folder.glob(_FILES))
    return sorted((file for file in found if file), key=lambda file: file.last_used, reverse=True)


def remove_files(folder: Path, *, unused_since: datetime | None = None) -> tuple[list[CacheFile], int]:
    """Delete files that no run has open.

    Args:
        unused_since: Only files last used before this time; None means all.

    Returns:
        The deleted files, and how many were kept because a run has them open.

    Raises:
        OSError: the folder cannot be locked, or a file cannot be deleted.
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
    """Delete leftovers of dead processes, and the least recently used files beyond a number of bytes.

    The caller holds the folder's lock. Files that a run has open are kept.
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
    if (stat := _stat(path)) is None:  # deleted concurrently
        return None
    said: dict[str, str] = {}
    pairs = 0
    try:
        with safe_open(path, framework="np") as file:
            said = dict(file.metadata() or {})
            pairs = int(file.get_slice(TENSOR).get_shape()[0])
    except (SafetensorError, OSError):
        pass  # a damaged file is listed as empty, so that it can be cleared
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
    """Whether a process holds a mark; the check locks it for a moment."""
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
