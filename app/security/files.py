"""Temporary files of each user: uploads until their import, exports until their download.

They are kept for at most a day in the home folder, in one private folder per user.
"""

import hashlib
import shutil
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from app.errors import Refused
from app.settings import get_settings

KEPT_SECONDS: Final = 24 * 3600.0
_MIB: Final = 2**20


def root() -> Path:
    """The folder of all users' files, created if missing."""
    folder = get_settings().root / "files"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def folder_of(user: str) -> Path:
    """A user's own folder. Its hashed name hides the user and is valid on every file system."""
    folder = root() / hashlib.sha256(user.encode()).hexdigest()[:32]
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def new_folder(user: str) -> Path:
    """Create a folder for one upload or export in the user's own folder."""
    return Path(mkdtemp(dir=folder_of(user)))


def owned(path: str, user: str) -> Path | None:
    """Resolve a client's path; None unless it is one of this user's files."""
    try:
        file = Path(path).resolve()
        inside = "\0" not in path and file.is_relative_to(folder_of(user).resolve()) and file.is_file()
    except (OSError, ValueError, RuntimeError):
        return None
    return file if inside else None


def used_bytes(user: str) -> int:
    """Total size of a user's files."""
    return sum(_size(path) for path in folder_of(user).rglob("*"))


def check_room(user: str, more: int) -> None:
    """Check that a user's quota allows this many more bytes.

    Raises:
        Refused: beyond the quota, with the remedy.
    """
    quota = get_settings().user_files_mb
    if used_bytes(user) + more > quota * _MIB:
        raise Refused(
            f"Your uploads and exports would take more than {quota} MiB. They are deleted after a "
            "day; import the waiting files, or ask whoever runs this server to raise "
            "HYPO_USER_FILES_MB."
        )


def discard(path: Path) -> None:
    """Delete a user's file and the parent folders that it leaves empty."""
    path.unlink(missing_ok=True)
    for folder in path.resolve().parents:
        if root().resolve() not in folder.parents or not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def sweep(*, older_than_seconds: float = KEPT_SECONDS) -> None:
    """Delete uploads and exports older than the limit."""
    before = time.time() - older_than_seconds
    for entry in root().iterdir():
        for found in list(entry.iterdir()) if entry.is_dir() else [entry]:
            if _last_written(found) >= before:
                continue
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _last_written(path: Path) -> float:
    """Newest modification time of a path and its contents; now if it was deleted concurrently."""
    try:
        return max(entry.stat().st_mtime for entry in (path, *path.rglob("*")))
    except OSError:
        return time.time()
