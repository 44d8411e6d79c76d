"""Shutting down in good order: a process that is told to stop hands its work to the next one.

Runs and answers check `shutting_down` between two steps. A step on a slow machine may outlast the patience
of whoever sent the signal; then the work is released from here, the process exits, and the attempt does not
count as a death.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE_SECONDS = 12.0
"""How long a step may go on after the process was told to stop."""

log = logging.getLogger(__name__)

shutting_down = threading.Event()
"""Set once this process was told to stop."""

_releases: list[Callable[[], None]] = []


@contextmanager
def released_on_exit(release: Callable[[], None]) -> Iterator[None]:
    """While the block runs, this process holds work that `release` hands to the next one."""
    _releases.append(release)
    try:
        yield
    finally:
        _releases.remove(release)


def exit_after(seconds: float = GRACE_SECONDS) -> None:
    """Release the work and exit after some seconds, unless the process has ended by itself by then."""
    timer = threading.Timer(seconds, _release_and_exit)
    timer.daemon = True
    timer.start()


def _release_and_exit() -> None:
    if not _releases:
        return
    log.warning("The step takes too long; its work goes back to the queue.")
    for release in list(_releases):
        try:
            release()
        except Exception:
            log.exception("The work could not be released; its lease will run out.")
    os._exit(0)
