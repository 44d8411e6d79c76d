"""A run's weights become a model repository on a local hub."""

import json
from pathlib import Path

import pytest
import yaml

from app import artifacts
from app.cli.main import run
from app.errors import NotFound, Refused
from app.pushing.runs import push_run
from app.store.db import write_session
from tests.app import arena
from tests.app.pushing.conftest import CLIENT_WARNS
from tests.hub_server import Hub

SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
pytestmark = [CLIENT_WARNS, SQLITE, pytest.mark.usefixtures("engine")]


def trained(folder: Path, base_model: str = "someone/base", **files: bytes) -> int:
    """A run with an adapter in the artifacts."""
    with write_session() as session:
        made = arena.add_run(session, name="mine", base_model=base_model)
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    settings = {"r": 8, "base_model_name_or_path": "/home/ada/models/base"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    for name, content in files.items():
        (adapter / name).write_bytes(content)
    artifacts.save_folder(folder, f"runs/{made.id}/10")
    return made.id


def test_a_run_arrives_with_its_card(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = trained(tmp_path)
    assert run(["runs", "push", str(run_id), "mine"]) == 0
    assert f"Pushed to {hub.address}/ann/mine (private)." in capsys.readouterr().out
    repository = hub.repositories["model", "ann/mine"]
    assert repository.files["adapter_model.safetensors"] == b"weights"
    card = repository.files["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "someone/base"
    assert repository.commits == [f"Run {run_id}: mine"]


def test_no_folder_of_this_machine_is_told(hub: Hub, tmp_path: Path) -> None:
    push_run(trained(tmp_path, "/home/ada/models/base"), "mine")
    files = hub.repositories["model", "ann/mine"].files
    assert not [name for name, content in files.items() if b"/home/ada" in content]
    assert json.loads(files["adapter_config.json"]) == {"r": 8, "base_model_name_or_path": "base"}
    assert b"base_model:" not in files["README.md"].split(b"---")[1]


def test_only_safetensors_and_texts_are_pushed(hub: Hub, tmp_path: Path) -> None:
    run_id = trained(tmp_path, **{"training_args.bin": b"pickle"})
    with pytest.raises(Refused, match=r"training_args\.bin is neither safetensors nor text"):
        push_run(run_id, "mine")
    with pytest.raises(NotFound):
        push_run(4711, "mine")
    assert hub.asked == []
