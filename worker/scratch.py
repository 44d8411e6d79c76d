"""Scratch of running runs, under the home folder; what lasts is copied to the artifacts."""

import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store.models import Run


def scratch_folder(run_id: int) -> Path:
    """Where all attempts of a run have their folders."""
    return get_settings().work_dir / f"run-{run_id}"


def sweep(*, session: Session) -> None:
    """Delete the scratch of runs that are over or gone: of those whose worker died, nobody else does."""
    for folder in get_settings().work_dir.glob("run-*"):
        number = folder.name.removeprefix("run-")
        run = session.get(Run, int(number)) if number.isdigit() and len(number) < 10 else None
        if run is None or run.status.is_over:
            shutil.rmtree(folder, ignore_errors=True)
