"""The watchdog: a small process next to every worker that kills it when a cancel is overdue.

A worker may be stuck where none of its own threads can run: in C code that holds the GIL, or in a regular
expression that never ends. Only another process can then kill it. The watchdog records the work as cancelled,
so it is not retried. It exits when its worker does.
"""

import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from app.environment import environment_for, keep_private
from app.store import overdue_cancels
from app.store.db import read_session
from app.store.overdue_cancels import OverdueCancels
from worker.retry import retry_write

CHECK_SECONDS = 2.0
DEATH_SECONDS = 10.0

log = logging.getLogger(__name__)


def start_watchdog(worker: str) -> "subprocess.Popen[bytes]":
    """Start the watchdog of this process; it exits when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-m", "worker.watchdog", worker, str(os.getpid())],
        env=environment_for("watchdog"),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def watch(worker: str, pid: int, left: Callable[[float], bool]) -> None:
    """Check every few seconds until the worker has exited or was killed.

    Args:
        left: waits up to that many seconds; returns whether the worker has exited.
    """
    while not left(CHECK_SECONDS):
        try:
            with read_session() as session:
                overdue = overdue_cancels.of_worker(worker, session=session)
        except SQLAlchemyError as error:
            log.warning("The database did not say what was cancelled: %s", error)
            continue
        if overdue and os.getppid() == pid:
            log.warning("Worker %s did not act on a cancel; it is ended.", worker)
            os.kill(pid, signal.SIGKILL)
            left(DEATH_SECONDS)
            _write_down(overdue)
            return


def _write_down(overdue: OverdueCancels) -> None:
    """Record the cancellation, with retries; a worker that reaped the run meanwhile recorded the same."""
    retry_write(lambda session: overdue_cancels.enforce(overdue, session=session))


def _parent_left(seconds: float) -> bool:
    """Wait until standard input closes, whose other end the parent holds."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def main() -> None:
    """Watch the worker that is named on the command line."""
    keep_private()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(sys.argv[1], int(sys.argv[2]), _parent_left)


if __name__ == "__main__":
    main()
