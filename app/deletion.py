"""Deleting a run with everything it left: one door for the pages, the command line and the API."""

import shutil
import time

from app import artifacts
from app.artifacts import StoreUnavailable
from app.errors import Refused
from app.settings import get_settings
from app.store import removal
from app.store.db import write_session


def delete_run(run_id: int, *, seconds: float = 0.1) -> None:
    """Take a run off every list in one short transaction, then delete its artifacts, scratch and rows.

    Answers and votes stay. Rows go a few at a time, so that others may write meanwhile; what is left when
    the time is up goes with the keepers of the workers, and nobody sees it any more.

    Args:
        seconds: how long to go on deleting rows; the call returns after it.

    Raises:
        NotFound: for a run that does not exist.
        Refused: while the run is queued, running or answering, when nothing is deleted; or when the run is
            deleted and files of it are left.
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
    """Delete rows of removed runs until none is left or the time is up."""
    end = time.monotonic() + seconds
    more = True
    while more and time.monotonic() < end:
        with write_session() as session:
            more = removal.purge(session=session)
