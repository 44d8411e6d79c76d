"""Deleting a run with everything it left: one door for the pages and the command line."""

import shutil

from app import artifacts
from app.errors import Refused
from app.settings import get_settings
from app.store import runs
from app.store.db import write_session


def delete_run(run_id: int) -> None:
    """Delete a run's rows in one transaction, then its artifacts, then its scratch on this machine.

    Answers and votes stay. Without rows nothing finds the files, so a run is never half there.

    Raises:
        NotFound: for a run that does not exist.
        Refused: while the run is queued, running or answering, when nothing is deleted; or when the run is
            deleted and files of it are left.
    """
    with write_session() as session:
        paths = runs.remove(run_id, session=session)
    problems = []
    for path in paths:
        try:
            artifacts.delete_folder(path)
        except OSError as error:
            problems.append(f"{path} ({error})")
    shutil.rmtree(get_settings().work_dir / f"run-{run_id}", ignore_errors=True)
    if problems:
        raise Refused(f"Run {run_id} is deleted; these files are left: {', '.join(problems)}.")
