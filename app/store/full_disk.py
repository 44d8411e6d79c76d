"""Report a full disk in one sentence wherever a row cannot be written."""

import sqlite3
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from app.errors import Refused
from hypo_engine.errors import disk_full

SENTENCE = disk_full("nothing was stored. Free some space, then try again", disk="The disk of the app")


class DiskFull(OperationalError, Refused):
    """Nothing was stored. Users see the sentence; a worker waits, as for any unavailable database."""

    def __str__(self) -> str:
        return SENTENCE


def tell(engine: Engine) -> None:
    """Raise DiskFull when the database reports a full disk."""
    event.listen(engine, "handle_error", _translate)


def _translate(context: Any) -> BaseException | None:
    if not _is_full(context.original_exception):
        return None
    return DiskFull(context.statement, context.parameters, context.original_exception)


def _is_full(error: BaseException) -> bool:
    """Whether the disk is full. SQLite reports some cases, such as an exceeded quota, as a failed write."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    return getattr(error, "sqlstate", None) == "53100"
