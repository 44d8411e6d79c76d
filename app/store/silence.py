"""A PostgreSQL server that is frozen: noticed by the client, since nobody else can.

The kernel of a machine whose server stands still goes on acknowledging what arrives, so TCP sees nothing,
and the server's own timeouts stand still with it. psycopg has no limit on how long an answer may take, and
gets one here.
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
    """A connection that closes when the server says nothing for HYPO_DATABASE_SECONDS within a statement.

    Raises:
        OperationalError: the server was silent for that long.
    """

    unlimited = False

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        if self.unlimited:
            return super().wait(gen, *args, **kwargs)
        return super().wait(self._limited(gen), *args, **kwargs)

    def _limited(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Hand on what a generator waits for; psycopg calls it at least every tenth of a second."""
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
                    raise psycopg.OperationalError(f"the server has said nothing for {limit:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as done:
            value: T = done.value
            return value


@contextmanager
def unlimited(connection: Connection) -> Iterator[None]:
    """While the block runs, a connection may take as long as it needs, as a migration of many rows does."""
    raw: Any = connection.connection.dbapi_connection
    raw.unlimited = True
    try:
        yield
    finally:
        raw.unlimited = False


def limit(engine: Engine) -> None:
    """Have a PostgreSQL engine use connections that notice a frozen server."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return LimitedConnection.connect(*args, **kwargs)
