"""The database's clock: the single time source for leases, presence and messages.

The clocks of several machines differ, and a process whose clock is ten minutes fast would treat every lease
as expired. So a process never compares its own time with a time in a row. Rows get the database's time and
are compared with it in SQL. SQLite has no server; its time is that of the machine that runs its processes.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Float, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from app.store.base import UTCDateTime


class now(FunctionElement[datetime]):
    """The database's time at the start of the statement."""

    name = "database_now"
    type = UTCDateTime()
    inherit_cache = True


class after(FunctionElement[datetime]):
    """The database's time plus a number of seconds, which may be negative."""

    name = "database_after"
    type = UTCDateTime()
    inherit_cache = True

    def __init__(self, seconds: float) -> None:
        super().__init__(literal(float(seconds), Float))


class seconds_between(FunctionElement[float]):
    """The seconds from one column of times to another; null where either is."""

    name = "database_seconds_between"
    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(_element: now, _compiler: Any, **_: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(after, "sqlite")
def _sqlite_after(element: after, compiler: Any, **given: Any) -> str:
    seconds = compiler.process(element.clauses, **given)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


@compiles(now, "postgresql")
def _postgresql_now(_element: now, _compiler: Any, **_: Any) -> str:
    return "statement_timestamp()"


@compiles(after, "postgresql")
def _postgresql_after(element: after, compiler: Any, **given: Any) -> str:
    seconds = compiler.process(element.clauses, **given)
    return f"(statement_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


@compiles(seconds_between, "sqlite")
def _sqlite_seconds_between(element: seconds_between, compiler: Any, **given: Any) -> str:
    start, end = (compiler.process(clause, **given) for clause in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


@compiles(seconds_between, "postgresql")
def _postgresql_seconds_between(element: seconds_between, compiler: Any, **given: Any) -> str:
    start, end = (compiler.process(clause, **given) for clause in element.clauses)
    return f"CAST(EXTRACT(EPOCH FROM ({end} - {start})) AS double precision)"


_read: tuple[datetime, float] | None = None


def read(*, session: Session) -> datetime:
    """Read the database's time."""
    global _read
    found = session.scalars(select(now())).one()
    _read = (found, time.monotonic())
    return found


def present() -> datetime:
    """The database's time, extrapolated from the last time that this process read it.

    It is for display, such as "5 minutes ago"; no decision depends on it. Before the first reading it is
    the process's own time.
    """
    if _read is None:
        return datetime.now(UTC)
    at, then = _read
    return at + timedelta(seconds=time.monotonic() - then)
