"""Deletion of a run and all it stored, shared by the pages, the command line and the API."""

import shutil
import time

from app import artifacts
from app.artifacts import StoreUnavailable
from app.errors import Refused
from app.settings import get_settings
from app.store import removal
from app.store.db import write_session


def delete_run(run_id: int, *, seconds: float = 0.1) -> None:
    """Hide a run from every list in one short transaction, then delete its artifacts, scratch and rows.

    Answers and votes are kept. Rows are deleted in small batches, so other writers can interleave. Rows that
    remain when the time is up are no longer visible; the workers' keepers delete them.

    Args:
        seconds: time limit for deleting rows.

    Raises:
        NotFound: for a run that does not exist.
        Refused: while the run is queued, running or answering (nothing is deleted then), or when the run is
            deleted but some of its files remain.
    """
    with write_session() as session:
        paths = removal.remove(run_id, session=session)
    problems = []
    for path in paths:
        try:
            artifacts.delete_folder(path)
        except (OSError, StoreUnavailable) as error:
            problems.append(f"{path} ({error})")
    shutil.rmtree(get_settings().work_dir / f"run-{run_id}", ignore_errors=True)
    purge(seconds)
    if problems:
        raise Refused(f"Run {run_id} is deleted; these files remain: {', '.join(problems)}.")


def purge(seconds: float) -> None:
    """Delete rows of removed runs until none remain or the time is up."""
    end = time.monotonic() + seconds
    more = True
    while more and time.monotonic() < end:
        with write_session() as session:
            more = removal.purge(session=session)
