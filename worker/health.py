"""`python -m worker.health`: whether a worker of this machine was seen lately; the exit status says so.

For the health check of a container. It reads one table, so it starts in a second and imports no torch.
"""

import socket
import sys

from sqlalchemy.exc import SQLAlchemyError

from app.store import workers
from app.store.db import read_session


def problem(machine: str) -> str | None:
    """What is wrong with the workers of a machine; None when one of them lives."""
    try:
        with read_session() as session:
            present = [worker.id for worker in workers.present(session=session)]
    except SQLAlchemyError as error:
        return f"The database did not answer: {str(error.__cause__ or error).splitlines()[0]}"
    if any(name.partition(":")[0] == machine for name in present):
        return None
    return f"No worker of {machine} was seen in the last {workers.PRESENT_SECONDS:.0f} seconds."


def main() -> None:
    """Exit with 0 when a worker lives, and with a sentence and 1 when none does."""
    sys.exit(problem(socket.gethostname()))


if __name__ == "__main__":
    main()
