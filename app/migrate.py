"""Migration of the database to the newest schema, from code and independent of the working directory.

One process migrates at a time. Others wait for its transaction and then find nothing to do.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from app.errors import Refused
from app.store import search_backfill, silence, tallies
from app.store.db import get_engine, write_session
from app.store.models import Base

_ROOT = Path(__file__).resolve().parent.parent
_LOCK = 0x4879504F
"""Key of PostgreSQL's advisory lock: the letters HyPO in ASCII."""


def alembic_config() -> Config:
    """Alembic's configuration, without the ini file."""
    config = Config()
    config.set_main_option("script_location", str(_ROOT / "migrations"))
    return config


def upgrade(revision: str = "head") -> None:
    """Migrate the database of the process's settings in one transaction, all or nothing.

    A database without tables gets the newest schema at once.
    """
    with migrating() as connection:
        if revision == "head" and not _has_tables(connection):
            Base.metadata.create_all(connection)
            command.stamp(_config_for(connection), revision)
        else:
            command.upgrade(_config_for(connection), revision)
    if revision == "head":
        count_votes()
        index_texts()


def _has_tables(connection: Connection) -> bool:
    return bool(set(inspect(connection).get_table_names()) - {"alembic_version"})


def count_votes() -> None:
    """Count the votes that the present rules have not counted, in small batches so that others can vote."""
    waiting = True
    while waiting:
        with write_session() as session:
            waiting = tallies.count_waiting(session=session) > 0


def index_texts() -> None:
    """Index the generations and prompts that are older than the search, in small batches."""
    waiting = True
    while waiting:
        with write_session() as session:
            waiting = search_backfill.fill_some(session=session)


def downgrade(revision: str) -> None:
    """Downgrade the schema to a revision; `base` drops every table."""
    with migrating() as connection:
        command.downgrade(_config_for(connection), revision)


def _config_for(connection: Connection) -> Config:
    config = alembic_config()
    config.attributes["connection"] = connection
    return config


@contextmanager
def migrating() -> Iterator[Connection]:
    """Open the migrating transaction, which excludes all others; a second caller waits for its end.

    Raises:
        Refused: when foreign keys would be violated. The database is unchanged.
    """
    engine = get_engine()
    if engine.dialect.name == "sqlite":
        with (
            _file_lock(engine.url.database),
            engine.connect() as connection,
            _foreign_keys_off(connection) as raw,
            connection.begin(),
        ):
            before = raw.total_changes
            yield connection
            if raw.total_changes > before:
                _check_foreign_keys(connection)
    else:
        with engine.begin() as connection, silence.unlimited(connection):
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection


@contextmanager
def _file_lock(database: str | None) -> Iterator[None]:
    """Lock a SQLite database's file. SQLite's own lock does not cover its first opening, which sets WAL."""
    if not database or database == ":memory:":
        yield
        return
    path = Path(database).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.migrating").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _foreign_keys_off(connection: Connection) -> Iterator[Any]:
    """Disable foreign keys. SQLite alters a table by copying and dropping it, and the drop would cascade."""
    raw: Any = connection.connection.dbapi_connection
    assert raw is not None
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield raw
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise Refused(
            f"The migration was undone: a row of {broken[0]} refers to one of {broken[2]} that "
            "does not exist."
        )


def is_current() -> bool:
    """Whether the database has the newest schema."""
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    with get_engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == newest
