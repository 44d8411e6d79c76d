"""Files on their way in and out: in the user's own folder, gone when they are done."""

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
    """An upload as a file with its own name's ending, for the length of the block.

    Raises:
        Refused: where the user's files would take more than their quota.
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
    """A file that is written into a new folder, sent, and deleted."""
    folder = files.new_folder(user)
    try:
        path = write(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, media_type=media_type, background=done)


def streamed(pieces: Iterable[bytes], name: str, media_type: str) -> StreamingResponse:
    """A file that is sent while it is made. What fails before its first piece is an answer of its own."""
    following = iter(pieces)
    first = next(following, b"")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chain([first], following), media_type=media_type, headers=headers)


def _ending(name: str) -> str:
    """The endings of a file's name, such as .jsonl.gz, of plain letters and digits."""
    endings = [suffix for suffix in Path(name).suffixes[-2:] if suffix[1:].isalnum() and suffix.isascii()]
    return "".join(endings)[:20]
