"""A tiny model, a dataset and a home with tables, for training and answering in this process."""

import json
from pathlib import Path

import pytest

from app import migrate
from app.imports import add_dataset
from app.launch import launch
from app.settings import Settings
from app.store.db import write_session
from tests.tiny_model import write_tiny_model
from worker.answering import answer_next
from worker.going import going_away

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
def home(settings: Settings) -> Settings:
    migrate.upgrade()
    going_away.clear()
    return settings


@pytest.fixture
def dataset_id(home: Settings, tmp_path: Path) -> int:
    rows = [{"prompt": f"Say {n}.", "chosen": f" yes {n}", "rejected": f" no {n}"} for n in range(24)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with write_session() as session:
        return add_dataset(session=session, path=path, name="tiny", held_out=0.3).id


class Launcher:
    """Launches tiny runs."""

    def __init__(self, dataset_id: int, model: Path) -> None:
        self.dataset_id = dataset_id
        self.model = model

    def __call__(self, method: str = "dpo", **values: object) -> list[int]:
        given = {"model_name_or_path": str(self.model), **TINY_RUN, **values}
        return [run.id for run in launch(method, self.dataset_id, given)]


@pytest.fixture
def launch_tiny(dataset_id: int, tiny_model: Path) -> Launcher:
    return Launcher(dataset_id, tiny_model)


def answer_all() -> None:
    """Be the generate worker until nothing waits."""
    while answer_next(worker="here:1:generate:aaaa"):
        continue
