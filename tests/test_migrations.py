"""Migrations on both databases: up from empty, equal to the models, down to empty, up again."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

from app import leaving_out, migrate
from app.errors import Refused
from app.settings import Settings, get_settings
from app.store import db, labels, search_schema, vote_games
from app.store.db import read_session, write_session
from app.store.enums import Choice
from app.store.models import Base, Dataset, Metric, Worker
from tests.app import arena
from tests.app.scored import add_pairs


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """A database without tables, selected by the settings."""
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
    return {name for name in inspect(engine).get_table_names() if not search_schema.holds(name)}


def models_tables(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not search_schema.holds(name)


def upgrade_by_steps() -> None:
    """Run every migration; `migrate.upgrade()` would create the tables of an empty database at once."""
    script = ScriptDirectory.from_config(migrate.alembic_config())
    migrate.upgrade(str(script.get_current_head()))


def test_up_down_and_up_again(empty: Engine) -> None:
    assert not migrate.is_current()
    upgrade_by_steps()
    migrated = tables(empty)
    assert {*Base.metadata.tables, "alembic_version"} <= migrated
    assert migrate.is_current()
    migrate.downgrade("base")
    assert set(inspect(empty).get_table_names()) <= {"alembic_version"}
    assert not migrate.is_current()
    migrate.upgrade()
    assert tables(empty) == migrated
    migrate.upgrade()
    assert migrate.is_current()
    migrate.downgrade("base")
    assert tables(empty) <= {"alembic_version"}


def test_the_migrations_make_what_the_models_say(empty: Engine) -> None:
    upgrade_by_steps()
    with empty.connect() as connection:
        options = {"compare_type": True, "include_name": models_tables}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_every_table_has_the_indexes_of_the_models(empty: Engine) -> None:
    upgrade_by_steps()
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
        upgrade_by_steps()
    assert tables(empty) == set()


def test_there_is_one_line_of_revisions() -> None:
    script = ScriptDirectory.from_config(migrate.alembic_config())
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1
    for revision in script.walk_revisions():
        assert revision.doc
        assert callable(revision.module.downgrade)


@pytest.mark.servers
def test_several_who_migrate_an_empty_database_at_once_wait_for_each_other(empty: Engine) -> None:
    command = [sys.executable, "-c", "from app import migrate; migrate.upgrade()"]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    assert ended == [("", 0)] * 4
    assert migrate.is_current()


def test_a_table_that_is_made_anew_keeps_the_rows_that_refer_to_it(empty: Engine) -> None:
    migrate.upgrade()
    with write_session() as session:
        run = arena.add_run(session)
        session.add(Metric(run_id=run.id, name="loss", step=1, value=0.5))
    with migrate.migrating() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("runs", recreate="auto") as table:
            table.alter_column("name", new_column_name="title")
        with operations.batch_alter_table("runs", recreate="auto") as table:
            table.alter_column("title", new_column_name="name")
    with read_session() as session:
        assert session.get(Metric, (run.id, "loss", 1)) is not None


def test_a_migration_that_leaves_rows_without_what_they_refer_to_is_undone(
    empty: Engine,
) -> None:
    migrate.upgrade()
    with write_session() as session:
        run = arena.add_run(session)
        session.add(Metric(run_id=run.id, name="loss", step=1, value=0.5))
    with pytest.raises((Refused, IntegrityError)), migrate.migrating() as connection:
        connection.execute(text("UPDATE metrics SET run_id = 4711"))
    with read_session() as session:
        assert session.get(Metric, (run.id, "loss", 1)) is not None


def test_old_votes_stay_and_their_voters_have_seen_the_names(empty: Engine) -> None:
    """In that version a conversation had one order of sides, and its first vote revealed the names."""
    migrate.upgrade("0007")
    with empty.begin() as connection:
        for statement in OLD_VOTES:
            connection.execute(text(statement))
    migrate.upgrade()
    with empty.connect() as connection:
        seen = connection.execute(text("SELECT user_id, comparison_id FROM names_seen ORDER BY 1, 2")).all()
        orders = connection.execute(text("SELECT id, shown_order FROM comparisons ORDER BY id")).all()
        votes = connection.execute(text("SELECT id, user_id, blind, choice, best_id FROM labels")).all()
    assert [tuple(row) for row in seen] == [(1, 1), (1, 2), (2, 3)]
    decoded = [order if isinstance(order, list) else json.loads(order) for _, order in orders]
    assert decoded == [[0, 1, 2], [0, 1, 2], [0, 1]]
    assert [(row[0], row[1], bool(row[2]), *row[3:]) for row in votes] == [(1, 1, True, "best", 2)]
    migrate.downgrade("0007")
    migrate.upgrade()


def test_workers_of_an_older_version_have_a_gpu_where_their_device_is_one(empty: Engine) -> None:
    migrate.upgrade("0012")
    devices = ("CPU, 2 threads", "NVIDIA H100", "")
    with empty.begin() as connection:
        for number, device in enumerate(devices):
            connection.execute(
                text(
                    "INSERT INTO workers (id, queues, device, started_at, seen_at) "
                    f"VALUES ('w{number}', 'train', '{device}', {_NOW}, {_NOW})"
                )
            )
    migrate.upgrade()
    with read_session() as session:
        assert [session.get_one(Worker, f"w{n}").has_gpu for n in range(3)] == [False, True, False]


def test_votes_of_an_older_version_get_their_prompts_and_lengths(empty: Engine) -> None:
    migrate.upgrade()
    with write_session() as session:
        comparison = arena.asked(session, ("short", "a longer answer"))
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1)
    with read_session() as session:
        before = vote_games.games(session=session)
    migrate.downgrade("0013")
    migrate.upgrade()
    with read_session() as session:
        assert vote_games.games(session=session) == before
    assert before[0].length == 10


def test_versions_without_some_pairs_get_the_version_that_they_are_made_of(empty: Engine) -> None:
    migrate.upgrade()
    old = add_pairs(10, held_out=0)
    with write_session() as session:  # a file with such a name is no version
        session.get_one(Dataset, add_pairs(4, name="other")).source = "scored version 1 without 2 pairs"
    made = leaving_out.leave_out(old, {1, 2}).id
    migrate.downgrade("0029")
    migrate.upgrade()
    with read_session() as session:
        found = session.execute(select(Dataset.id, Dataset.parent_id).where(Dataset.parent_id.is_not(None)))
        assert [tuple(row) for row in found] == [(made, old)]


_NOW = "'2026-01-01 00:00:00+00'"
OLD_VOTES = [
    *(f"INSERT INTO users (id, name, created_at) VALUES ({n}, 'u{n}', {_NOW})" for n in (1, 2)),
    "INSERT INTO prompts (id, sha256, content) VALUES (1, 'x', '\"Why?\"')",
    *(
        "INSERT INTO conversations (id, user_id, blind, seed, parameters, created_at) "
        f"VALUES ({n}, {n}, {blind}, 1, '{{}}', {_NOW})"
        for n, blind in ((1, "true"), (2, "false"))
    ),
    *(
        "INSERT INTO contenders (conversation_id, position, base_model, name, method) "
        f"VALUES ({conversation}, {position}, 'demo', 'c{position}', 'reference')"
        for conversation, count in ((1, 3), (2, 2))
        for position in range(count)
    ),
    *(
        "INSERT INTO comparisons (id, conversation_id, turn, question, attempt, created_at) "
        f"VALUES ({n}, {conversation}, {turn}, 'Why?', 0, {_NOW})"
        for n, conversation, turn in ((1, 1, 0), (2, 1, 1), (3, 2, 0))
    ),
    *(
        "INSERT INTO generations (id, kind, status, prompt_id, comparison_id, position, take, text, seed, "
        "parameters, tokens, complete, stop_wished, created_at) VALUES "
        f"({n}, 'answer', 'finished', 1, 1, {n - 1}, 0, 'text {n}', 1, '{{}}', 2, true, false, {_NOW})"
        for n in (1, 2, 3)
    ),
    "INSERT INTO labels (id, comparison_id, user_id, choice, best_id, worst_id, shown, blind, reason, "
    f"created_at, updated_at) VALUES (1, 1, 1, 'best', 2, 1, '[1, 2, 3]', true, '', {_NOW}, {_NOW})",
]
