"""Watching leases: which of them were not renewed for a while, by this process's own steady clock.

A lease that is over by the database's clock is not proof of a death: while the database was away, or the
machine slept, nobody could renew. So a lease also has to be seen unrenewed for its whole length, by
somebody who was in touch with the database all the time.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime


class LeaseWatch:
    """Remembers since when each lease has had the end that it has.

    Args:
        seconds: how long a lease has to be seen unrenewed.
        gap_seconds: looks further apart than this begin anew.
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
        """Look at all leases there are, with their ends; those that have stood still for too long."""
        now = self._clock()
        before = self._seen if now - self._looked <= self._gap else {}
        self._looked = now
        self._seen = {
            lease: before[lease] if lease in before and before[lease][0] == until else (until, now)
            for lease, until in leases.items()
        }
        return {lease for lease, (_, since) in self._seen.items() if now - since >= self._seconds}
