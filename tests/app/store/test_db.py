"""Engines and sessions: SQLite's settings, and readers and writers that do not block each other."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.settings import Settings
from app.store import db, run_events, runs, users
from app.store.db import make_engine, read_session, write_session
from app.store.models import Base, Metric, User
from tests.app import arena
from tests.app.store.concurrently import concurrently


@pytest.fixture
def sqlite(settings: Settings) -> Engine:
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    return engine


def test_sqlite_is_set_for_several_processes(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'new' / 'folder' / 'hypo.db'}")
    with engine.connect() as connection:
        found = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    engine.dispose()
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30000, "synchronous": 1}


def test_a_home_with_any_name(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "mein ordner äöü 100% %20 #1?b=c")
    engine = make_engine(settings.sqlalchemy_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
    engine.dispose()
    assert (settings.root / "hypo.db").is_file()


def test_many_writers_are_never_told_that_the_database_is_locked(sqlite: Engine) -> None:
    with write_session() as session:
        run_id = arena.add_run(session).id

    def write(number: int) -> None:
        for line in range(15):
            with write_session() as session:
                runs.get(run_id, session=session)
                run_events.add(session=session, run_id=run_id, message=f"{number}/{line}")

    concurrently(write, times=8)
    with read_session() as session:
        assert len(run_events.of_run(run_id, session=session)) == 8 * 15 + 1


def test_a_reader_does_not_wait_for_a_writer(sqlite: Engine) -> None:
    inside, done = threading.Event(), threading.Event()

    def write() -> None:
        with write_session() as session:
            users.ensure("new", session=session)
            inside.set()
            done.wait(20)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert inside.wait(20)
        with read_session() as session:
            assert session.scalars(select(User.name)).all() == []
    finally:
        done.set()
        writer.join()
    with read_session() as session:
        assert session.scalars(select(User.name)).all() == ["new"]


def test_an_exception_undoes_the_block(engine: Engine) -> None:
    def write() -> None:
        with write_session() as session:
            users.ensure("gone", session=session)
            session.execute(insert(User).values(name="gone"))

    with pytest.raises(IntegrityError):
        write()
    with read_session() as session:
        assert session.scalars(select(User.name)).all() == []


def test_rows_can_be_read_after_the_session(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session)
    assert run.dataset.name.startswith("posts")
    with read_session() as session:
        run = runs.get(run.id, session=session)
    assert run.dataset.version == 1


def test_foreign_keys_hold(session: Session) -> None:
    session.add(Metric(run_id=4711, name="loss", step=1, value=1.0))
    with pytest.raises(IntegrityError):
        session.flush()
