"""`python -m worker.health`: whether a worker of this machine takes messages; the exit status says so.

For the health check of a container. It reads one table, so it starts in a second and imports no torch.
"""

import sys
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from app.store import workers
from app.store.db import read_session
from worker.identity import is_neighbour


def problem(mine: Callable[[str], bool] = is_neighbour) -> str | None:
    """What is wrong with the workers beside this process; None when one of them takes messages.

    Args:
        mine: whether a worker, by its name, is one of them.
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
    """Exit with 0 when a worker takes messages, and with a sentence and 1 when none does."""
    sys.exit(problem())


if __name__ == "__main__":
    main()
