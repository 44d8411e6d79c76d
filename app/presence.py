"""Messages about missing or failing workers, for the pages, the command line and the API."""

from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store import workers
from app.store.db import read_session


def worker_missing(queue: str) -> str | None:
    """A sentence on what to do when no worker consumes a queue; None when one does."""
    with read_session() as session:
        if workers.consuming(session=session, queue=queue):
            return None
        trouble = worker_trouble(queue, session=session)
    return trouble or no_worker(queue, where=f" on {get_settings().root}")


def no_worker(queue: str | None = None, *, where: str = "") -> str:
    """The sentence for a missing worker, of one queue or of any. Commands are in backticks."""
    which, command = (
        (f"{queue} worker", f"hypo worker --queues {queue}") if queue else ("worker", "hypo worker")
    )
    return f"No {which} is running{where}; start everything with `hypo up`, or one worker with `{command}`."


def worker_trouble(queue: str, *, session: Session) -> str | None:
    """A sentence for a queue whose workers run but none consumes messages; None otherwise."""
    present = workers.present(session=session, queue=queue)
    if not present or any(not worker.trouble for worker in present):
        return None
    return f"The {queue} worker {present[0].id} does not take work. {present[0].trouble}"
