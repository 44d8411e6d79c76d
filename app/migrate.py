"""Bringing the database to the newest schema, from code, wherever the package lies."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.store.db import get_engine

_ROOT = Path(__file__).resolve().parent.parent


def alembic_config() -> Config:
    """Alembic's configuration without its ini file."""
    config = Config()
    config.set_main_option("script_location", str(_ROOT / "migrations"))
    return config


def upgrade(revision: str = "head") -> None:
    """Migrate the database of the process's settings; one transaction, so all or nothing."""
    config = alembic_config()
    with get_engine().begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(revision: str) -> None:
    """Take the schema back to a revision; `base` drops every table."""
    config = alembic_config()
    with get_engine().begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def is_current() -> bool:
    """Whether the database has the newest schema."""
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    with get_engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == newest
