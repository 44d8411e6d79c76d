"""Waiting for what is away: a short outage of the database or the artifacts' store fails nothing.

Each try is a whole transaction or a whole folder, so doing it again is safe. Pauses grow, and are never
quite equal, for many workers wait for the same server. Who waits may be told so, and may give up by raising.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.artifacts import StoreAway
from app.errors import AppError
from app.settings import get_settings
from app.store.db import read_session, write_session
from worker.going import going_away

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
LEAVING_SECONDS = 4.0
"""How long a process that was asked to go still waits; it is killed soon after."""

DATABASE, STORE = "database", "artifacts' store"

_PASSING_STATES = {"25006", "25P03"}
"""SQLSTATEs that pass by themselves and are no OperationalError: a standby that is being made the primary,
and a session that the server ended while this process stood still."""

T = TypeVar("T")
Waiting = Callable[[str, float], None]


class StillAway(AppError):
    """What is needed has been away for longer than anybody waits."""


def wait_out(act: Callable[[], T], *, waiting: Waiting | None = None, seconds: float | None = None) -> T:
    """Do something, again after a pause as long as the database or the artifacts' store is away.

    Args:
        waiting: told before each pause what is away, and for how many seconds; gives up by raising.
        seconds: the longest wait; HYPO_OUTAGE_SECONDS if not given.

    Raises:
        StillAway: it has been away for longer than that.
    """
    limit = get_settings().outage_seconds if seconds is None else seconds
    started, pause = time.monotonic(), FIRST_PAUSE
    while True:
        try:
            return act()
        except (SQLAlchemyError, StoreAway) as error:
            what = away(error)
            if what is None:
                raise
            spent = time.monotonic() - started
            if spent >= (min(limit, LEAVING_SECONDS) if going_away.is_set() else limit):
                raise StillAway(_sentence(what, spent, error)) from error
            if waiting is not None:
                waiting(what, spent)
        time.sleep(pause * random.uniform(0.75, 1.0))
        pause = min(LONGEST_PAUSE, pause * 2)


def patiently(
    write: Callable[[Session], T], *, waiting: Waiting | None = None, seconds: float | None = None
) -> T:
    """Do one writing transaction, as `wait_out` does things."""

    def act() -> T:
        with write_session() as session:
            return write(session)

    return wait_out(act, waiting=waiting, seconds=seconds)


def read_patiently(read: Callable[[Session], T], *, waiting: Waiting | None = None) -> T:
    """Do one reading transaction, as `wait_out` does things."""

    def act() -> T:
        with read_session() as session:
            return read(session)

    return wait_out(act, waiting=waiting)


def away(error: Exception) -> str | None:
    """What cannot be reached, by the error that came of it; None where trying again would not help."""
    if isinstance(error, StoreAway):
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
