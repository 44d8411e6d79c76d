"""Watching leases: detection of unrenewed ones, and pauses of the watcher."""

from datetime import UTC, datetime, timedelta

from worker.watch import LeaseWatch

ENDS = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A manually advanced clock in seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_lease_that_stands_still_for_its_length_is_unrenewed() -> None:
    clock = Clock()
    watch = LeaseWatch(60, 15, clock=clock)
    for _ in range(12):
        assert watch.unrenewed({"a": ENDS}) == set()
        clock.seconds += 5
    assert watch.unrenewed({"a": ENDS, "new": ENDS}) == {"a"}
    assert watch.unrenewed({"new": ENDS}) == set()


def test_a_lease_that_is_renewed_is_kept_whatever_time_it_names() -> None:
    """A worker whose clock is an hour slow writes expiry times in the past."""
    clock = Clock()
    watch = LeaseWatch(60, 15, clock=clock)
    for beat in range(100):
        assert watch.unrenewed({"a": ENDS + timedelta(seconds=beat // 3)}) == set()
        clock.seconds += 5


def test_after_a_pause_the_watch_begins_anew() -> None:
    """No lease can be renewed during a database outage, so none is reaped right after it."""
    clock = Clock()
    watch = LeaseWatch(60, 15, clock=clock)
    for _ in range(11):
        watch.unrenewed({"a": ENDS})
        clock.seconds += 5
    clock.seconds += 600
    assert watch.unrenewed({"a": ENDS}) == set()
    for _ in range(11):
        clock.seconds += 5
        assert watch.unrenewed({"a": ENDS}) == set()
    clock.seconds += 5
    assert watch.unrenewed({"a": ENDS}) == {"a"}
