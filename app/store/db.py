"""Engines and sessions: one interface for SQLite (WAL) and PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store import full_disk, silence
from app.store.turns import take_turns


def make_engine(url: str) -> Engine:
    """An engine for a SQLAlchemy URL; SQLite gets WAL, foreign keys and a busy timeout."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": 30})
        event.listen(engine, "connect", _prepare_sqlite)
        take_turns(engine)
    else:
        engine = create_engine(url, pool_pre_ping=True, connect_args=_timeouts(parsed))
        event.listen(engine, "connect", _limit_waits)
        silence.limit(engine)
    full_disk.tell(engine)
    return engine


def _timeouts(url: URL) -> dict[str, Any]:
    """Connection timeouts: 30 seconds of silence mean that the server is down. The URL takes precedence."""
    given = {
        "connect_timeout": 10,
        "keepalives": 1,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": "hypo",
    }
    return {name: value for name, value in given.items() if name not in url.query}


def _limit_waits(connection: Any, _record: Any) -> None:
    """Abort transactions that stay idle, and limit the wait for locks."""
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = '120s'")
        cursor.execute("SET lock_timeout = '30s'")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@lru_cache(maxsize=8)
def _engine_for(url: str) -> Engine:
    return make_engine(url)


def get_engine() -> Engine:
    """The engine for the database in the settings."""
    return _engine_for(get_settings().sqlalchemy_url)


@lru_cache(maxsize=8)
def _reader(engine: Engine) -> Engine:
    """The same engine for read-only transactions. On SQLite they never wait for a writer."""
    return engine.execution_options(read_only=True)


@contextmanager
def write_session() -> Iterator[Session]:
    """A session that commits at the end of the block and rolls back on an exception."""
    with Session(get_engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def read_session() -> Iterator[Session]:
    """A session for reading. On SQLite it never waits for a writer."""
    with Session(_reader(get_engine()), expire_on_commit=False) as session:
        yield session
