"""Alembic's entry: migrates the database of the process's settings, or the connection it is handed."""

from alembic import context
from sqlalchemy import Connection

from app.store.db import get_engine
from app.store.models import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
else:
    with get_engine().connect() as own, own.begin():
        run(own)
