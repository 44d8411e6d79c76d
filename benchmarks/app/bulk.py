"""Bulk insertion of rows: executemany on SQLite, COPY on PostgreSQL."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.orm import Session

from app.store import clock, search_backfill, silence
from app.store.models import SearchBackfill

Row = Mapping[str, Any]
_BATCH = 5_000
_INDEXED = ("generations", "prompts")
_WORDS_AT_ONCE = 20_000


def insert_rows(engine: Engine, table: Table, rows: Iterable[Row]) -> int:
    """Insert rows. A column missing from a row gets the model's default.

    Returns:
        The number of inserted rows.
    """
    values = _as_values(engine, table, rows)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            return _copy(connection, table, values)
        return _execute_many(connection, table, values)


def _as_values(engine: Engine, table: Table, rows: Iterable[Row]) -> Iterator[tuple[Any, ...]]:
    """Convert each row to the driver's values, in the order of the columns."""
    columns = [(column.name, _default(column), _processor(column, engine)) for column in table.columns]
    for row in rows:
        yield tuple(process(row.get(name, default)) for name, default, process in columns)


def _default(column: Any) -> Any:
    default = column.default
    if default is None:
        return None
    if default.is_clause_element:
        if not isinstance(default.arg, clock.now):
            raise TypeError(f"{column} has a default that only the database can make: {default.arg}.")
        return datetime.now(UTC)
    return default.arg if default.is_scalar else default.arg(None)


def _processor(column: Any, engine: Engine) -> Callable[[Any], Any]:
    process = column.type.dialect_impl(engine.dialect).bind_processor(engine.dialect)
    return process if process is not None else lambda value: value


def _execute_many(connection: Connection, table: Table, values: Iterator[tuple[Any, ...]]) -> int:
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    connection.exec_driver_sql("PRAGMA cache_size = -500000")
    written = 0
    while batch := list(islice(values, _BATCH)):
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", batch)
        written += len(batch)
    return written


def _copy(connection: Connection, table: Table, values: Iterator[tuple[Any, ...]]) -> int:
    names = ", ".join(column.name for column in table.columns)
    cursor: Any = connection.connection.cursor()
    written = 0
    with silence.unlimited(connection), cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for row in values:
            copy.write_row(row)
            written += 1
    return written


def postpone_words(engine: Engine) -> None:
    """Let SQLite's triggers leave the rows alone. Their words are indexed in batches, which is faster."""
    if engine.dialect.name == "sqlite":
        with Session(engine) as session, session.begin():
            session.add_all(SearchBackfill(name=name, next_id=2**31) for name in _INDEXED)


def index_words(engine: Engine) -> None:
    """Index the words of all rows, as after the migration that brought the search."""
    waiting = True
    while waiting:
        with Session(engine) as session, session.begin():
            waiting = search_backfill.fill_some(session=session, rows=_WORDS_AT_ONCE)


def finish(engine: Engine, tables: Iterable[Table]) -> None:
    """Advance the id sequences past the inserted rows, and update the planner's statistics."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            for table in tables:
                _continue_ids(connection, table)
        else:
            connection.exec_driver_sql("ANALYZE")
    if engine.dialect.name == "postgresql":
        alone = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with alone as connection, silence.unlimited(connection):
            connection.exec_driver_sql("VACUUM ANALYZE")


def _continue_ids(connection: Connection, table: Table) -> None:
    key = table.autoincrement_column
    if key is not None:
        sequence = f"pg_get_serial_sequence('{table.name}', '{key.name}')"
        newest = f"(SELECT coalesce(max({key.name}), 1) FROM {table.name})"
        connection.execute(text(f"SELECT setval({sequence}, {newest})"))
