"""Turns: the writers of one process wait for each other in memory before they ask SQLite for its lock.

SQLite has one writer. A thread that finds its lock taken sleeps and retries up to 100 ms later, however soon
the lock was free; of forty threads some miss it again and again. A turn only orders the threads. The
database's lock decides, also between processes, so a turn that never comes is no error.
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
    """Start as a writer unless told otherwise: upgrading a read lock would fail with SQLITE_BUSY at once."""
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
