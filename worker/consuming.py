"""Whether this process receives messages: it sends itself a probe now and then, and sees whether it arrives.

A Celery worker and its keeper may be alive and yet receive nothing: after a broker was reset, or behind a
half-open connection. A probe takes the way of every message, so it finds all such faults without a look into
the libraries. A worker that receives nothing for too long exits, and a supervisor starts it again.
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
"""How often an idle worker sends itself a probe, at most."""

UNREACHABLE = "It cannot reach the broker."

log = logging.getLogger(__name__)


class Consumption:
    """When this process last took a message, or was busy with one.

    Args:
        seconds: how long an idle process may take no message.
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
        """While the block runs no message is expected. False: the process is about to end; do nothing."""
        with self._lock:
            self._busy = not self._ending
        try:
            yield self._busy
        finally:
            with self._lock:
                self._busy = False
                self._taken = self._clock()

    def taken(self) -> None:
        """A message has arrived."""
        with self._lock:
            self._taken = self._clock()

    def sent(self, reached: bool) -> None:
        """A probe was sent, or the broker did not take it; while it does not, none can arrive.

        After a pause without probes, as of a machine that slept, the count begins anew.
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
        """A sentence on why no message is taken; empty while they are, or while the process is busy."""
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
        """Whether it has received nothing for too long; from then on no work is begun."""
        with self._lock:
            deaf = not self._busy and self._reached and self._clock() - self._taken >= self._seconds
            self._ending = self._ending or deaf
            return self._ending


consumption = Consumption(get_settings().deaf_seconds)
"""That of this process."""


class Prober(threading.Thread):
    """Sends this process its probes, and ends it when they do not arrive."""

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
                log.error("This worker lives and takes no messages. Its process ends, to be started again.")
                os._exit(1)

    def stop(self) -> None:
        self._stopped.set()
