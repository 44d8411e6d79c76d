"""Temporary files of uploads and downloads, kept in the user's folder until the call is done."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from fastapi import UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask

from app.security import files


@contextmanager
def kept_upload(upload: UploadFile, user: str) -> Iterator[Path]:
    """Store an upload as a file with the extension of its name until the end of the block.

    Raises:
        Refused: the user's files would exceed their quota.
    """
    files.check_room(user, upload.size or 0)
    folder = files.new_folder(user)
    try:
        path = folder / f"upload{_ending(upload.filename or '')}"
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file, 1 << 20)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sent_file(write: Callable[[Path], Path], media_type: str, user: str) -> FileResponse:
    """Write a file to a new folder, send it, and delete it."""
    folder = files.new_folder(user)
    try:
        path = write(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, media_type=media_type, background=done)


def streamed(pieces: Iterable[bytes], name: str, media_type: str) -> StreamingResponse:
    """Send a file while it is generated. An error before the first piece gives an error response."""
    following = iter(pieces)
    first = next(following, b"")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chain([first], following), media_type=media_type, headers=headers)


def _ending(name: str) -> str:
    """The sanitized extensions of a file's name, such as .jsonl.gz."""
    endings = [suffix for suffix in Path(name).suffixes[-2:] if suffix[1:].isalnum() and suffix.isascii()]
    return "".join(endings)[:20]
