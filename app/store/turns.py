"""Turns: the writers of one process queue in memory before they request SQLite's lock.

SQLite has one writer. A thread that finds the lock taken sleeps for up to 100 ms before it retries, even if
the lock is free sooner. Among forty threads, some starve. A turn only orders the threads. The database's lock
is authoritative, also between processes, so waiting for a turn may time out without an error.
"""

import threading
from typing import Any, Final

from sqlalchemy import Engine, event

LONGEST_WAIT_SECONDS: Final = 30.0
_HELD: Final = "hypo_turn"


def take_turns(engine: Engine) -> None:
    """Make the writing transactions of an engine take turns."""
    turn = threading.Lock()

    def end(connection: Any) -> None:
        if connection.info.pop(_HELD, False):
            turn.release()

    event.listen(engine, "commit", end)
    event.listen(engine, "rollback", end)
    event.listen(engine, "begin", lambda connection: _begin(connection, turn))


def _begin(connection: Any, turn: threading.Lock) -> None:
    """Start as a writer unless read-only: upgrading a read lock would fail immediately with SQLITE_BUSY."""
    if connection.get_execution_options().get("read_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    connection.info[_HELD] = turn.acquire(timeout=LONGEST_WAIT_SECONDS)
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except BaseException:
        if connection.info.pop(_HELD, False):
            turn.release()
        raise
