"""Detects stale leases by this process's own monotonic clock.

A lease that has expired by the database's clock does not prove a death: while the database was unavailable or
the machine slept, it could not be renewed. A lease therefore also has to stay unrenewed for its whole
duration, as observed by a process that could reach the database all that time.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime


class LeaseWatch:
    """Remembers when each lease was last seen to change.

    Args:
        seconds: how long a lease has to stay unrenewed to count as stale.
        gap_seconds: after a longer pause between two observations, counting starts over.
        clock: monotonic seconds.
    """

    def __init__(
        self, seconds: float, gap_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._gap = gap_seconds
        self._clock = clock
        self._looked = clock()
        self._seen: dict[str, tuple[datetime, float]] = {}

    def unrenewed(self, leases: Mapping[str, datetime]) -> set[str]:
        """Observe all leases with their expiry times, and return those that are stale."""
        now = self._clock()
        before = self._seen if now - self._looked <= self._gap else {}
        self._looked = now
        self._seen = {
            lease: before[lease] if lease in before and before[lease][0] == until else (until, now)
            for lease, until in leases.items()
        }
        return {lease for lease, (_, since) in self._seen.items() if now - since >= self._seconds}
