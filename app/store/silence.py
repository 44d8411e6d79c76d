"""Detect a frozen PostgreSQL server in the client.

While a server process is frozen, its kernel still acknowledges packets, so TCP timeouts do not fire, and the
server's own timeouts are frozen too. psycopg has no response timeout, so this module adds one.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, event

from app.settings import get_settings

T = TypeVar("T")


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that closes when the server sends nothing for HYPO_DATABASE_SECONDS during a statement.

    Raises:
        OperationalError: the server was silent for that long.
    """

    unlimited = False

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        if self.unlimited:
            return super().wait(gen, *args, **kwargs)
        return super().wait(self._limited(gen), *args, **kwargs)

    def _limited(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Wrap a wait generator with the timeout. psycopg resumes it at least every 0.1 seconds."""
        limit = get_settings().database_seconds
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard >= limit:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {limit:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as done:
            value: T = done.value
            return value


@contextmanager
def unlimited(connection: Connection) -> Iterator[None]:
    """Disable a connection's timeout during the block, for example for a migration of many rows."""
    raw: Any = connection.connection.dbapi_connection
    raw.unlimited = True
    try:
        yield
    finally:
        raw.unlimited = False


def limit(engine: Engine) -> None:
    """Make a PostgreSQL engine use connections that detect a frozen server."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return LimitedConnection.connect(*args, **kwargs)
