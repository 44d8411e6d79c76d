"""Requests that run side by side in threads, while their claims are watched."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from worker.shutdown import shutting_down

WISHES_SECONDS = 0.5
"""Seconds between two looks for requests to stop."""

CLAIMED_ROWS = 32
"""Rows under one lease. A worker that dies loses the replies that it waits for, not these rows."""


def side_by_side(calls: Sequence[Callable[[], None]], *, at_once: int, look: Callable[[], None]) -> None:
    """Run calls in threads, and `look` for requests to stop until all are over.

    Args:
        at_once: number of threads.
    """
    with ThreadPoolExecutor(at_once, thread_name_prefix="request") as pool:
        futures = [pool.submit(call) for call in calls]
        while wait(futures, timeout=WISHES_SECONDS).not_done:
            look()
    for future in futures:
        future.result()


def interrupted(lost: threading.Event) -> bool:
    """Whether another worker will continue: the lease is lost, or this process shuts down."""
    return lost.is_set() or shutting_down.is_set()
