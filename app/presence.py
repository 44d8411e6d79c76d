"""Whether a worker is there, and how to start one: for the pages, the command line and the API."""

from app.settings import get_settings
from app.store import workers
from app.store.db import read_session


def worker_missing(queue: str) -> str | None:
    """A sentence on how to start a worker when none of a queue is there."""
    with read_session() as session:
        if workers.present(session=session, queue=queue):
            return None
    return (
        f"No {queue} worker runs on {get_settings().root}; start everything with `hypo up`, "
        f"or one worker with `hypo worker --queues {queue}`."
    )
