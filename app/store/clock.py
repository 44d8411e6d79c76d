"""The database's clock: the one time by which leases, presence and messages are judged.

Processes on several machines have several clocks, and one that is ten minutes fast would take every lease
for over. So no time of a process's own is ever compared with one in a row: rows get the database's time, and
are compared with it, in SQL. SQLite has no server; its time is that of the machine all its processes run on.
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
    """The database's time as this statement begins."""

    name = "database_now"
    type = UTCDateTime()
    inherit_cache = True


class after(FunctionElement[datetime]):
    """The database's time some seconds from now; before now where they are negative."""

    name = "database_after"
    type = UTCDateTime()
    inherit_cache = True

    def __init__(self, seconds: float) -> None:
        super().__init__(literal(float(seconds), Float))


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


_read: tuple[datetime, float] | None = None


def read(*, session: Session) -> datetime:
    """The database's time."""
    global _read
    found = session.scalars(select(now())).one()
    _read = (found, time.monotonic())
    return found


def present() -> datetime:
    """The database's time as this process read it last, and what has passed since then.

    For sentences such as "5 minutes ago"; nothing is decided by it. Before the first reading it is the
    process's own time.
    """
    if _read is None:
        return datetime.now(UTC)
    at, then = _read
    return at + timedelta(seconds=time.monotonic() - then)
