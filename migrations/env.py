"""Alembic's entry point: migrate the given connection, or the database in the settings."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, Enum

from app.store import search_schema
from app.store.db import get_engine
from app.store.models import Base, UTCDateTime


def render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Render custom column types as plain SQLAlchemy types."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, Enum):
        return f"sa.String(length={item.length})"
    return False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=render,
        include_name=lambda name, kind, _parents: kind != "table" or not search_schema.holds(name),
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
else:
    with get_engine().connect() as own, own.begin():
        run(own)
