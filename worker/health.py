"""`python -m worker.health`: exits with 0 if a worker of this machine receives messages.

Meant as a container's health check. It reads one table and imports no torch, so it starts within a second.
"""

import sys
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from app.store import workers
from app.store.db import read_session
from worker.identity import is_neighbour


def problem(mine: Callable[[str], bool] = is_neighbour) -> str | None:
    """What is wrong with this machine's workers; None if one of them receives messages.

    Args:
        mine: whether the worker of this name runs on this machine.
    """
    try:
        with read_session() as session:
            present = [worker for worker in workers.present(session=session) if mine(worker.id)]
    except SQLAlchemyError as error:
        return f"The database did not answer: {str(error.__cause__ or error).splitlines()[0]}"
    if not present:
        return f"No worker of this machine was seen in the last {workers.PRESENT_SECONDS:.0f} seconds."
    if all(worker.trouble for worker in present):
        return f"{present[-1].id}: {present[-1].trouble}"
    return None


def main() -> None:
    """Exit with 0 if a worker receives messages; otherwise print a sentence and exit with 1."""
    sys.exit(problem())


if __name__ == "__main__":
    main()
