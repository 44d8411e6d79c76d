"""Migrations, on both databases: up from nothing, equal to the models, down to nothing, up again."""

from collections.abc import Iterator

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from app import migrate
from app.settings import Settings, get_settings
from app.store import db
from app.store.models import Base


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """A database without tables, which the process's settings name."""
    if request.param == "postgresql":
        monkeypatch.setenv("HYPO_DATABASE_URL", request.getfixturevalue("postgres_url"))
        get_settings.cache_clear()
    engine = db.get_engine()
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield engine
    engine.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_up_down_and_up_again(empty: Engine) -> None:
    assert not migrate.is_current()
    migrate.upgrade()
    assert tables(empty) == {*Base.metadata.tables, "alembic_version"}
    assert migrate.is_current()
    migrate.downgrade("base")
    assert tables(empty) <= {"alembic_version"}
    assert not migrate.is_current()
    migrate.upgrade()
    migrate.upgrade()
    assert migrate.is_current()


def test_the_migrations_make_what_the_models_say(empty: Engine) -> None:
    migrate.upgrade()
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_every_table_has_the_indexes_of_the_models(empty: Engine) -> None:
    migrate.upgrade()
    found = inspect(empty)
    for table in Base.metadata.sorted_tables:
        named = {index["name"] for index in found.get_indexes(table.name)}
        assert {index.name for index in table.indexes} <= named, table.name


def test_a_failed_migration_changes_nothing(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    create_table = op.create_table

    def fail_in_the_middle(name: str, *columns: object, **given: object) -> object:
        if name == "runs":
            raise RuntimeError("the power went")
        return create_table(name, *columns, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(op, "create_table", fail_in_the_middle)
    with pytest.raises(RuntimeError, match="power"):
        migrate.upgrade()
    assert tables(empty) == set()


def test_there_is_one_line_of_revisions() -> None:
    script = ScriptDirectory.from_config(migrate.alembic_config())
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1
    for revision in script.walk_revisions():
        assert revision.doc
        assert callable(revision.module.downgrade)
