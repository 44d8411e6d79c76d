"""Serves the scripts of pages that are JavaScript modules.

The address of a page's modules contains a hash of them all, so that browsers keep them, and a module imports
its neighbours of the same version.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastapi import Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from app.delivery import FOR_GOOD

ADDRESS: Final = "modules"
_UI: Final = Path(__file__).parent


@lru_cache
def _scripts(page: str) -> dict[str, Path]:
    return {path.name: path for path in sorted((_UI / page).glob("*.js"))} if page in _PAGES else {}


_PAGES: Final = frozenset({"answer", "label"})
"""Folders of `app/ui` whose scripts are modules."""


@lru_cache
def address(page: str, name: str) -> str:
    """The address of a page's module, relative to the page."""
    content = b"".join(path.read_bytes() for path in _scripts(page).values())
    return f"{ADDRESS}/{page}/{hashlib.sha256(content).hexdigest()[:12]}/{name}"


def serve(page: str, version: str, name: str) -> Response:
    """A module. One of another version, asked for by a page from before an update, is not kept."""
    path = _scripts(page).get(name)
    if path is None:
        raise HTTPException(404)
    kept = FOR_GOOD if address(page, name) == f"{ADDRESS}/{page}/{version}/{name}" else "no-store"
    return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": kept})
