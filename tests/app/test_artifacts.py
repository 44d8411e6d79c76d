"""Artifacts: folders saved, fetched completely, deleted and exported, on disk and on S3."""

import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app import artifacts
from app.errors import NotFound, Refused
from app.settings import Settings, get_settings
from app.store import metrics
from app.store.enums import RunStatus
from tests.app import arena
from tests.s3_server import artifacts_on_s3, s3_server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|aiobotocore).*")


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """A real HTTP server that speaks S3."""
    with s3_server() as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture(params=["folder", "s3"])
def root(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An empty artifacts root of each kind."""
    if request.param == "folder":
        yield settings.artifacts
        return
    with artifacts_on_s3(request.getfixturevalue("s3_endpoint"), monkeypatch):
        get_settings.cache_clear()
        yield get_settings().artifacts


def make_folder(at: Path, **files: str) -> Path:
    for name, content in files.items():
        file = at / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return at


def read_folder(at: Path) -> dict[str, str]:
    return {p.relative_to(at).as_posix(): p.read_text() for p in sorted(at.rglob("*")) if p.is_file()}


FILES = {"state": "{}", "adapter__weights": "1", "adapter__deep__er": "2"}
CONTENT = {"state": "{}", "adapter/weights": "1", "adapter/deep/er": "2"}


def test_what_is_saved_comes_back(root: str, tmp_path: Path) -> None:
    artifacts.save_folder(make_folder(tmp_path / "made", **FILES), "runs/1/checkpoint-000010")
    fetched = artifacts.fetch_folder("runs/1/checkpoint-000010", tmp_path / "deep" / "fetched")
    assert read_folder(fetched) == CONTENT
    assert [p.name for p in fetched.parent.iterdir()] == ["fetched"]


def test_saving_again_takes_the_place_of_what_was_there(root: str, tmp_path: Path) -> None:
    artifacts.save_folder(make_folder(tmp_path / "old", stale="x", same="old"), "runs/1/c")
    artifacts.save_folder(make_folder(tmp_path / "new", same="new"), "runs/1/c")
    assert read_folder(artifacts.fetch_folder("runs/1/c", tmp_path / "out")) == {"same": "new"}


def test_a_folder_that_is_there_is_kept(root: str, tmp_path: Path) -> None:
    there = make_folder(tmp_path / "there", mine="1")
    assert artifacts.fetch_folder("runs/1/never-saved", there) == there
    assert read_folder(there) == {"mine": "1"}


def test_deleting_takes_one_folder_and_is_no_error_twice(root: str, tmp_path: Path) -> None:
    made = make_folder(tmp_path / "made", a="1")
    for key in ("runs/1/c-1", "runs/1/c-10"):
        artifacts.save_folder(made, key)
    artifacts.delete_folder("runs/1/c-1")
    artifacts.delete_folder("runs/1/c-1")
    with pytest.raises(Refused, match="missing from the artifact store"):
        artifacts.fetch_folder("runs/1/c-1", tmp_path / "a")
    assert read_folder(artifacts.fetch_folder("runs/1/c-10", tmp_path / "b")) == {"a": "1"}


@pytest.mark.parametrize("key", ["../outside", "runs/../../outside", "/etc"])
def test_no_key_leads_out_of_the_root(settings: Settings, tmp_path: Path, key: str) -> None:
    for act in (
        lambda: artifacts.save_folder(tmp_path, key),
        lambda: artifacts.fetch_folder(key, tmp_path / "new"),
        lambda: artifacts.delete_folder(key),
    ):
        with pytest.raises(Refused):
            act()


def test_two_who_fetch_at_once_both_get_it(settings: Settings, tmp_path: Path) -> None:
    artifacts.save_folder(make_folder(tmp_path / "made", **FILES), "runs/1/c")
    gate, results = threading.Barrier(4), []

    def fetch() -> None:
        gate.wait()
        results.append(read_folder(artifacts.fetch_folder("runs/1/c", tmp_path / "target")))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 4


@pytest.fixture
def trained(session: Session, tmp_path: Path) -> int:
    """A run with the checkpoint of step 10 in the artifacts."""
    run = arena.add_run(session, "hypo", name="mine")
    metrics.record(run.id, session=session, step=10, values={"eval_rewards/margins": 0.5})
    session.commit()
    made = make_folder(tmp_path / "made", state="{}", adapter__adapter_config="{}", optimizer="secret")
    artifacts.save_folder(made, f"runs/{run.id}/10")
    return run.id


def test_an_export_is_the_adapter_with_its_card(trained: int, tmp_path: Path) -> None:
    output = artifacts.export_run(trained, tmp_path / "export")
    assert sorted(read_folder(output)) == ["README.md", "adapter_config"]
    assert "# mine" in (output / "README.md").read_text()
    assert "eval_rewards/margins" in (output / "README.md").read_text()


def test_an_export_goes_to_a_new_or_empty_folder(trained: int, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    artifacts.export_run(trained, tmp_path / "empty")
    with pytest.raises(Refused, match="not empty"):
        artifacts.export_run(trained, tmp_path / "empty")
    with pytest.raises(NotFound):
        artifacts.export_run(4711, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_run_without_a_checkpoint_cannot_be_exported(session: Session, tmp_path: Path) -> None:
    run = arena.add_run(session, steps=())
    session.commit()
    with pytest.raises(Refused, match="no checkpoint"):
        artifacts.export_run(run.id, tmp_path / "new")


def test_an_export_of_a_reward_model_is_the_whole_classifier(session: Session, tmp_path: Path) -> None:
    made = make_folder(tmp_path / "made", adapter__weights="adapter", classifier__weights="whole")
    run, stopped = (
        arena.add_run(session, "reward", status=status) for status in (RunStatus.FINISHED, RunStatus.FAILED)
    )
    session.commit()
    artifacts.save_folder(made, f"runs/{run.id}/10")
    found = read_folder(artifacts.export_run(run.id, tmp_path / "export"))
    assert found["weights"] == "whole"
    assert "AutoModelForSequenceClassification" in found["README.md"]
    with pytest.raises(Refused, match="no whole reward model before its end"):
        artifacts.export_run(stopped.id, tmp_path / "other")


def test_a_zip_holds_one_folder(trained: int, tmp_path: Path) -> None:
    archive = artifacts.export_zip(trained, tmp_path)
    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if not name.endswith("/"))
        assert json.loads(file.read(f"hypo-run-{trained}/adapter_config")) == {}
    assert names == [f"hypo-run-{trained}/README.md", f"hypo-run-{trained}/adapter_config"]
