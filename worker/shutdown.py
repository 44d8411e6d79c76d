"""Graceful shutdown: a process that is told to stop releases its work for the next worker.

Runs and answers check `shutting_down` between steps. A step on a slow machine may take longer than the grace
period of the process manager. In that case the work is released from here and the process exits, and the
attempt does not count as a death.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE_SECONDS = 12.0
"""How long a step may continue after the process was told to stop."""

log = logging.getLogger(__name__)

shutting_down = threading.Event()
"""Set once this process was told to stop."""

_releases: list[Callable[[], None]] = []


@contextmanager
def released_on_exit(release: Callable[[], None]) -> Iterator[None]:
    """While the block runs, `release` is what hands this process's work to another worker."""
    _releases.append(release)
    try:
        yield
    finally:
        _releases.remove(release)


def exit_after(seconds: float = GRACE_SECONDS) -> None:
    """Release the work and exit after some seconds, unless the process has exited by then."""
    timer = threading.Timer(seconds, _release_and_exit)
    timer.daemon = True
    timer.start()


def _release_and_exit() -> None:
    if not _releases:
        return
    log.warning("The step takes longer than the grace period; its work returns to the queue.")
    for release in list(_releases):
        try:
            release()
        except Exception:
            log.exception("The work could not be released; its lease will run out.")
    os._exit(0)
