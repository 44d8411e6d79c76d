"""Leaving in time: a process asked to go hands its work to the next one even in the middle of a long step.

The engine looks between steps whether to go. A step on a slow machine may last longer than whoever asked
is willing to wait before it kills; then the work is released from here, the process ends, and the attempt
does not count as a death.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINGER_SECONDS = 12.0
"""How long a step may go on after the process was asked to go."""

log = logging.getLogger(__name__)
_release: list[Callable[[], None]] = []


@contextmanager
def holds(release: Callable[[], None]) -> Iterator[None]:
    """While the block runs, this process holds work that `release` hands to the next one."""
    _release.append(release)
    try:
        yield
    finally:
        _release.remove(release)


def leave_soon(seconds: float = LINGER_SECONDS) -> None:
    """Release what is held after a while, and end the process, unless it has ended by itself by then."""
    timer = threading.Timer(seconds, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    if not _release:
        return
    log.warning("The step takes too long; its work goes back to the queue.")
    for release in list(_release):
        try:
            release()
        except Exception:
            log.exception("The work could not be handed back; its lease will run out.")
    os._exit(0)
