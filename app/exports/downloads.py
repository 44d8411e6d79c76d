"""Where exported files lie while they are downloaded."""

import shutil
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from gradio.utils import get_upload_folder

KEPT_SECONDS: Final = 3600.0


def download_folder() -> Path:
    """A new folder from which Gradio serves files; those of earlier exports are deleted after an hour."""
    root = Path(get_upload_folder()) / "exports"
    root.mkdir(parents=True, exist_ok=True)
    before = time.time() - KEPT_SECONDS
    for folder in root.iterdir():
        if _last_written(folder) < before:
            shutil.rmtree(folder, ignore_errors=True)
    return Path(mkdtemp(dir=root))


def _last_written(folder: Path) -> float:
    """Of the folder or of a file in it; now where another export has just deleted it."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        return time.time()
