"""Scratch folders of runs in progress, under the home folder; results are copied to the artifacts' store."""

import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store.models import Run


def scratch_folder(run_id: int) -> Path:
    """The folder that holds those of all attempts of a run."""
    return get_settings().work_dir / f"run-{run_id}"


def sweep(*, session: Session) -> None:
    """Delete the scratch folders of runs that are over or deleted; a worker that died could not do it."""
    for folder in get_settings().work_dir.glob("run-*"):
        number = folder.name.removeprefix("run-")
        run = session.get(Run, int(number)) if number.isdigit() and len(number) < 10 else None
        if run is None or run.status.is_over:
            shutil.rmtree(folder, ignore_errors=True)
