"""A separate cluster per test, on SQLite or PostgreSQL, with short leases and small runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app import migrate
from app.launch import launch
from app.settings import get_settings
from app.store import db
from tests.integration.cluster import Broker, Cluster
from tests.tiny_dataset import add_tiny_dataset
from tests.tiny_model import write_tiny_model
from tests.worker.conftest import TINY_RUN

LaunchTiny = Callable[..., list[int]]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def database() -> str:
    """The database of the cluster; a test may parametrize it."""
    return "sqlite"


@pytest.fixture
def cluster(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    broker = Broker(tmp_path / "broker")
    environment = {
        "HYPO_HOME": str(tmp_path / "home"),
        "HYPO_BROKER_URL": broker.url,
        "HYPO_LEASE_SECONDS": "3",
        "HYPO_RESEND_SECONDS": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    if database == "postgresql":
        environment["HYPO_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    if database == "postgresql":
        with db.get_engine().begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    migrate.upgrade()
    cluster = Cluster(tmp_path, broker)
    try:
        broker.start()
        yield cluster
    finally:
        cluster.stop()
        db.get_engine().dispose()
        get_settings.cache_clear()


@pytest.fixture
def launch_tiny(cluster: Cluster, tiny_model: Path, tmp_path: Path) -> LaunchTiny:
    """A function that launches runs on a tiny model and two dozen pairs and returns their ids."""
    dataset_id = add_tiny_dataset(tmp_path)

    def launch_runs(method: str = "dpo", **values: object) -> list[int]:
        given = {"model_name_or_path": str(tiny_model), **TINY_RUN, **values}
        return [run.id for run in launch(method, dataset_id, given)]

    return launch_runs
