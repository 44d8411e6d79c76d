"""The watchdog: a small process beside every worker that ends it when a cancel is overdue.

A worker may be stuck where none of its own threads runs: in C code that keeps Python's lock, in a template
or an expression that never ends. So another process looks, and kills. What was cancelled is then written as
cancelled: it is not tried again. The watchdog itself leaves when its worker does.
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
    """Start the watchdog of this process; it leaves when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-m", "worker.watchdog", worker, str(os.getpid())],
        env=environment_for("watchdog"),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def watch(worker: str, pid: int, left: Callable[[float], bool]) -> None:
    """Look every few seconds until the worker has left or was ended.

    Args:
        left: waits for some seconds at most; whether the worker has left.
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
    """Write what was cancelled, with retries; another worker that reaped the run wrote the same."""
    retry_write(lambda session: overdue_cancels.enforce(overdue, session=session))


def _parent_left(seconds: float) -> bool:
    """Wait for the end of standard input, which the parent holds."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def main() -> None:
    """Watch the worker named on the command line."""
    keep_private()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(sys.argv[1], int(sys.argv[2]), _parent_left)


if __name__ == "__main__":
    main()
