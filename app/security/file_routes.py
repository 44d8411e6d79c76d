"""Uploads and downloads of the pages. These routes replace Gradio's and bind each file to its user.

The addresses and responses are those that Gradio's browser code expects.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from gradio.route_utils import GradioMultiPartParser, GradioUploadFile
from gradio.routes import file_upload_statuses
from python_multipart.exceptions import FormParserError
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from app.errors import Refused
from app.security import files
from app.security.sessions import user_of
from app.settings import get_settings

MOST_FILES: Final = 8
MOST_FIELDS: Final = 8
SWEEP_SECONDS: Final = 3600.0

router = APIRouter()


@router.post("/gradio_api/upload")
async def upload(request: Request, upload_id: str | None = None) -> Response:
    """Store the files of a form in the user's folder and respond with their paths."""
    user = _user(request)
    limit = get_settings().max_upload_mb * 2**20
    try:
        announced = int(request.headers.get("content-length") or 0)
    except ValueError:
        announced = 0
    if announced > limit + 2**20:
        raise HTTPException(413, f"The file is larger than {get_settings().max_upload_mb} MiB.")
    try:
        await asyncio.to_thread(files.check_room, user, announced)
    except Refused as refused:
        raise HTTPException(413, str(refused)) from refused
    folder = await asyncio.to_thread(files.new_folder, user)
    if upload_id:
        file_upload_statuses.track(upload_id)
    try:
        stored = await _parse(request, folder, limit, upload_id)
        await asyncio.to_thread(files.check_room, user, 0)  # the announced size may be missing or wrong
    except (MultiPartException, FormParserError, Refused, ClientDisconnect) as error:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        too_large = isinstance(error, Refused) or "maximum allowed size" in str(error)
        return PlainTextResponse(f"The upload was refused: {error}", status_code=413 if too_large else 400)
    return JSONResponse([str(path) for path in stored])


async def _parse(request: Request, folder: Path, limit: int, upload_id: str | None) -> list[Path]:
    """Store the uploaded files of a form, each in its own subfolder, and return their paths."""
    if "content-type" not in request.headers:
        raise MultiPartException("The request is not a form with files.")
    parser = GradioMultiPartParser(
        request.headers,
        request.stream(),
        max_files=MOST_FILES,
        max_fields=MOST_FIELDS,
        upload_dir=folder,
        max_file_size=limit,
        upload_id=upload_id,
        upload_progress=file_upload_statuses if upload_id else None,
    )
    stored: list[Path] = []
    for sent in (await parser.parse()).getlist("files"):
        if not isinstance(sent, GradioUploadFile):
            continue
        await sent.close()
        target = folder / f"{len(stored)}" / _file_name(sent.filename)
        target.parent.mkdir(mode=0o700)
        Path(sent.file.name).rename(target)
        target.chmod(0o600)
        stored.append(target)
    return stored


def _file_name(given: str | None) -> str:
    """Sanitize a client's file name: only its last part, safe characters and limited length."""
    name = PurePosixPath((given or "").replace("\\", "/")).name
    kept = "".join(c if c.isalnum() or c in " ._-()" else "_" for c in name).strip(". ")
    stem, dot, suffix = kept.rpartition(".")
    return f"{stem[:80]}{dot}{suffix[:16]}" if stem else kept[:80] or "file"


@router.api_route("/gradio_api/file={path:path}", methods=["GET", "HEAD"])
def download(request: Request, path: str) -> FileResponse:
    """Send one of the user's own files as an attachment, which browsers save and never render."""
    file = files.owned(path, _user(request))
    if file is None:
        raise HTTPException(403, "This file is not yours, or no longer exists.")
    return FileResponse(file, media_type="application/octet-stream", filename=file.name)


def _user(request: Request) -> str:
    user = user_of(request)
    if user is None:
        raise HTTPException(401, "Log in first.")
    return user


@asynccontextmanager
async def sweeping() -> AsyncIterator[None]:
    """Delete old files now and every hour while the app runs."""

    async def sweep_on() -> None:
        while True:
            with suppress(OSError):
                await asyncio.to_thread(files.sweep)
            await asyncio.sleep(SWEEP_SECONDS)

    task = asyncio.create_task(sweep_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
