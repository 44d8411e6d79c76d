"""Times of calls and of the write locks they hold."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event

from benchmarks.app.case import ANY, Case


@dataclass(slots=True)
class Times:
    """The times of a call in seconds, and the longest write lock held in any of them.

    `worked` are the processor times of this process, which other processes of a machine lengthen less. They
    leave out what PostgreSQL does.
    """

    name: str
    limit: float
    seconds: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    lock: float = 0.0

    def share(self, part: float) -> float:
        """Quantile of the times: the smallest one that this share of the calls did not exceed."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    @property
    def kept(self) -> bool:
        return self.share(0.95) <= self.limit


def measure(times: Times, case: Case, *, rounds: int, most: float, locks: "Locks") -> None:
    """Measure `rounds` calls, or as many as fit in `most` seconds, but at least one.

    The first call is a warm-up. A call without a limit is long, so it is measured once without a warm-up.
    """
    end = time.perf_counter() + most
    if case.limit < ANY:
        case.before()
        case.call()
    else:
        rounds = 1
    for _ in range(rounds):
        case.before()
        locks.longest = 0.0
        began, worked = time.perf_counter(), time.process_time()
        case.call()
        times.seconds.append(time.perf_counter() - began)
        times.worked.append(time.process_time() - worked)
        times.lock = max(times.lock, locks.longest)
        if time.perf_counter() > end:
            break


class Locks:
    """Measures an engine's write locks: on SQLite from BEGIN IMMEDIATE, else from the first change."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._since: dict[int, float] = {}

    @contextmanager
    def watching(self, engine: Engine) -> Iterator[None]:
        listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._statement,
            "after_cursor_execute": self._began,
            "commit": self._ended,
            "rollback": self._ended,
        }
        for name, listener in listeners.items():
            event.listen(engine, name, listener)
        try:
            yield
        finally:
            for name, listener in listeners.items():
                event.remove(engine, name, listener)

    def _statement(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        changes = statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
        if changes and connection.dialect.name != "sqlite":
            self._since.setdefault(id(connection.connection.dbapi_connection), time.perf_counter())

    def _began(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("BEGIN IMMEDIATE"):
            self._since[id(connection.connection.dbapi_connection)] = time.perf_counter()

    def _ended(self, connection: Connection) -> None:
        began = self._since.pop(id(connection.connection.dbapi_connection), None)
        if began is not None:
            self.longest = max(self.longest, time.perf_counter() - began)
