"""Retries: a run outlives a short outage of the database or the artifacts' store.

Each attempt is a whole transaction or a whole folder, so repeating it is safe. Pauses grow and are jittered,
because many workers wait for the same server.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.artifacts import StoreUnavailable
from app.errors import AppError
from app.settings import get_settings
from app.store.db import read_session, write_session
from worker.shutdown import shutting_down

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
SHUTDOWN_SECONDS = 4.0
"""How long a process that is shutting down keeps retrying; it is killed soon after."""

DATABASE, STORE = "database", "artifacts' store"

_PASSING_STATES = {"25006", "25P03"}
"""Transient SQLSTATEs that are no OperationalError: a standby that is being promoted, and a session that the
server terminated while this process was frozen.
"""

T = TypeVar("T")
OnPause = Callable[[str, float], None]


class StillUnavailable(AppError):
    """A service was unavailable for longer than the longest wait."""


def retry(act: Callable[[], T], *, on_pause: OnPause | None = None, seconds: float | None = None) -> T:
    """Call `act`, and retry with backoff while the database or the artifacts' store is unavailable.

    Args:
        on_pause: called before each pause with the unavailable service and the seconds so far; raises to give
            up.
        seconds: the longest wait; defaults to HYPO_OUTAGE_SECONDS.

    Raises:
        StillUnavailable: the outage lasted longer than that.
    """
    limit = get_settings().outage_seconds if seconds is None else seconds
    started, pause = time.monotonic(), FIRST_PAUSE
    while True:
        try:
            return act()
        except (SQLAlchemyError, StoreUnavailable) as error:
            what = unavailable_service(error)
            if what is None:
                raise
            spent = time.monotonic() - started
            if spent >= (min(limit, SHUTDOWN_SECONDS) if shutting_down.is_set() else limit):
                raise StillUnavailable(_sentence(what, spent, error)) from error
            if on_pause is not None:
                on_pause(what, spent)
        time.sleep(pause * random.uniform(0.75, 1.0))
        pause = min(LONGEST_PAUSE, pause * 2)


def retry_write(
    write: Callable[[Session], T], *, on_pause: OnPause | None = None, seconds: float | None = None
) -> T:
    """Run one write transaction with :func:`retry`."""

    def act() -> T:
        with write_session() as session:
            return write(session)

    return retry(act, on_pause=on_pause, seconds=seconds)


def retry_read(read: Callable[[Session], T], *, on_pause: OnPause | None = None) -> T:
    """Run one read transaction with :func:`retry`."""

    def act() -> T:
        with read_session() as session:
            return read(session)

    return retry(act, on_pause=on_pause)


def unavailable_service(error: Exception) -> str | None:
    """The service whose outage an error indicates; None if a retry would not help."""
    if isinstance(error, StoreUnavailable):
        return STORE
    if isinstance(error, PoolTimeout):
        return DATABASE
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error, (OperationalError, InterfaceError)):
        wrong = str(error.orig).startswith(("no such table", "no such column"))
        return None if wrong else DATABASE
    passing = error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _PASSING_STATES
    return DATABASE if passing else None


def _sentence(what: str, spent: float, error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error).strip().splitlines()[0][:200]
    return (
        f"The {what} has not answered for {spent / 60:.0f} minutes; "
        f"resume the run when it is back. It said: {said}"
    )
