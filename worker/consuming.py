"""Whether this process receives messages: it sends itself a probe now and then and checks that it arrives.

A Celery worker may be alive and yet receive nothing, after a reset of the broker or behind a half-open
connection. A probe takes the same path as every message, so it detects all such faults without relying on the
internals of Celery or kombu. A worker that receives nothing for too long exits, and a supervisor restarts it.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app import dispatch
from app.settings import get_settings
from worker.identity import TOKEN

PROBE_SECONDS = 10.0
"""Shortest time between two probes of an idle worker."""

UNREACHABLE = "It cannot reach the broker."

log = logging.getLogger(__name__)


class Consumption:
    """Tracks when this process last received a message or was busy with one.

    Args:
        seconds: how long an idle process may go without a message.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._taken = self._sent = clock()
        self._reached = True
        self._busy = False
        self._ending = False

    @contextmanager
    def working(self) -> Iterator[bool]:
        """Mark the process as busy in the block. Yields False if the process is about to exit."""
        with self._lock:
            self._busy = not self._ending
        try:
            yield self._busy
        finally:
            with self._lock:
                self._busy = False
                self._taken = self._clock()

    def taken(self) -> None:
        """Record that a message arrived."""
        with self._lock:
            self._taken = self._clock()

    def sent(self, reached: bool) -> None:
        """Record that a probe was sent, or that the broker did not accept it, in which case none can arrive.

        After a gap without probes, for example while the machine slept, counting starts over.
        """
        with self._lock:
            now, before = self._clock(), self._sent
            self._reached, self._sent = reached, now
            if not reached or now - before > self._seconds / 2:
                self._taken = now

    @property
    def busy(self) -> bool:
        return self._busy

    def trouble(self) -> str:
        """Why no message arrives, as a sentence; empty while messages arrive or the process is busy."""
        with self._lock:
            if self._busy:
                return ""
            if not self._reached:
                return UNREACHABLE
            silent = self._clock() - self._taken
        if silent < self._seconds / 2:
            return ""
        return (
            f"No message has reached it for {silent:.0f} s, although the broker takes them. "
            f"After {self._seconds:.0f} s its process ends, to be started again."
        )

    def must_end(self) -> bool:
        """Whether nothing has arrived for too long; from then on no work is started."""
        with self._lock:
            deaf = not self._busy and self._reached and self._clock() - self._taken >= self._seconds
            self._ending = self._ending or deaf
            return self._ending


consumption = Consumption(get_settings().deaf_seconds)
"""The tracker of this process."""


class Prober(threading.Thread):
    """Sends the probes of this process, and terminates it when they do not arrive."""

    def __init__(self) -> None:
        super().__init__(name="prober", daemon=True)
        self._stopped = threading.Event()
        self._every = min(PROBE_SECONDS, get_settings().deaf_seconds / 4)

    def run(self) -> None:
        while not self._stopped.wait(self._every):
            if consumption.busy:
                continue
            consumption.sent(dispatch.send_probe(TOKEN))
            if consumption.must_end():
                log.error("This worker receives no messages. It exits, so that its supervisor restarts it.")
                os._exit(1)

    def stop(self) -> None:
        self._stopped.set()
