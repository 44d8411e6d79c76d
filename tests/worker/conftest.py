"""A tiny model, a dataset and a home with tables, for in-process training and answering."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app import migrate
from app import settings as settings_module
from app.launch import launch
from app.settings import Settings
from app.store import db
from app.store.models import Base
from tests.relay import Relay
from tests.tiny_dataset import add_tiny_dataset
from tests.tiny_model import write_tiny_model
from worker import answering, token_scoring
from worker.answering import answer_next
from worker.serving import Serving
from worker.shutdown import shutting_down

TINY_RUN = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "lora_r": 4,
    "learning_rate": 1e-2,
    "max_prompt_length": 64,
    "max_completion_length": 12,
    "eval_pairs": 2,
    "eval_prompts": 2,
    "probe_prompts": 1,
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with tables, and nothing loaded for another one."""
    serving = Serving()
    monkeypatch.setattr(answering, "SERVING", serving)
    monkeypatch.setattr(token_scoring, "SERVING", serving)
    migrate.upgrade()
    shutting_down.clear()
    return settings


@pytest.fixture
def dataset_id(home: Settings, tmp_path: Path) -> int:
    return add_tiny_dataset(tmp_path)


@pytest.fixture
def relay(postgres_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay to an empty PostgreSQL database; the settings point to the relay."""
    url = make_url(postgres_url)
    folder = str(url.query["host"])

    def connect() -> socket.socket:
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"{folder}/.s.PGSQL.{url.port or 5432}")
        return far

    made = Relay(connect)
    there = url.set(host="127.0.0.1", port=made.port, query={})
    monkeypatch.setenv("HYPO_DATABASE_URL", there.render_as_string(hide_password=False))
    settings_module.get_settings.cache_clear()
    engine = db.get_engine()
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield made
    engine.dispose()
    made.cut()


class Launcher:
    """Launches tiny runs."""

    def __init__(self, dataset_id: int, model: Path) -> None:
        self.dataset_id = dataset_id
        self.model = model

    def __call__(self, method: str = "dpo", *, judge: str = "", **values: object) -> list[int]:
        given = {"model_name_or_path": str(self.model), **TINY_RUN, **values}
        return [run.id for run in launch(method, self.dataset_id, given, judge=judge)]


@pytest.fixture
def launch_tiny(dataset_id: int, tiny_model: Path) -> Launcher:
    return Launcher(dataset_id, tiny_model)


def answer_all() -> None:
    """Act as the generate worker until the queue is empty."""
    while answer_next(worker="here:1:generate:aaaa"):
        continue
