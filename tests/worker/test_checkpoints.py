"""Checkpoints of a run in the artifacts: which are kept, and that none is missing at the end."""

import shutil
import threading
from pathlib import Path

import pytest

from app import artifacts
from app.settings import Settings
from app.store import runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.store.models import utcnow
from tests.worker.conftest import Launcher
from worker.reporter import StoreReporter
from worker.training import train_run


def steps(run_id: int) -> list[int]:
    with read_session() as session:
        return [checkpoint.step for checkpoint in runs.checkpoints(run_id, session=session)]


def stored_folders(run_id: int, home: Settings) -> list[str]:
    return sorted(path.name for path in (Path(home.artifacts) / f"runs/{run_id}").iterdir())


def queue_again(run_id: int) -> None:
    """As the keeper does with a run whose worker fell silent."""
    with write_session() as session:
        run = runs.get(run_id, session=session)
        run.status, run.lease_id, run.lease_until = RunStatus.QUEUED, None, utcnow()


def saved(tmp_path: Path, step: int) -> str:
    folder = tmp_path / f"checkpoint-{step:06d}"
    folder.mkdir()
    (folder / "state.json").write_text(str(step))
    return str(folder)


@pytest.mark.parametrize(
    ("keep_all", "kept", "at_the_end"), [(True, [5, 10, 15], [5, 10, 15]), (False, [10, 15], [15])]
)
def test_the_last_two_are_kept_unless_all_are_wanted(
    launch_tiny: Launcher,
    home: Settings,
    tmp_path: Path,
    keep_all: bool,
    kept: list[int],
    at_the_end: list[int],
) -> None:
    [run_id] = launch_tiny()
    reporter = StoreReporter(run_id, "lease", threading.Event(), keep_all=keep_all)
    for step in (5, 10, 15):
        reporter.checkpoint(step, saved(tmp_path, step))
    assert steps(run_id) == kept
    assert stored_folders(run_id, home) == [f"checkpoint-{step:06d}" for step in kept]
    reporter.finished()
    assert steps(run_id) == at_the_end
    assert stored_folders(run_id, home) == [f"checkpoint-{step:06d}" for step in at_the_end]


def test_who_lost_the_lease_stores_no_files(launch_tiny: Launcher, home: Settings, tmp_path: Path) -> None:
    [run_id] = launch_tiny()
    lost = threading.Event()
    lost.set()
    StoreReporter(run_id, "lease", lost).checkpoint(5, saved(tmp_path, 5))
    assert steps(run_id) == []
    assert not (Path(home.artifacts) / f"runs/{run_id}").exists()


def test_a_death_while_the_last_one_was_stored_loses_it_not(
    launch_tiny: Launcher, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run_id] = launch_tiny()

    class Death(BaseException):
        """What no handler sees, as a SIGKILL."""

    def die(folder: Path, key: str) -> None:
        raise Death

    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "save_folder", die)
        with pytest.raises(Death):
            train_run(run_id, worker="here:1:train")
    with read_session() as session:
        assert runs.get(run_id, session=session).status is RunStatus.RUNNING
    queue_again(run_id)
    train_run(run_id, worker="here:2:train")
    with read_session() as session:
        assert runs.get(run_id, session=session).status is RunStatus.FINISHED
    assert steps(run_id) == [2]
    assert stored_folders(run_id, home) == ["checkpoint-000002"]


def test_a_run_that_is_over_leaves_no_scratch(launch_tiny: Launcher, home: Settings) -> None:
    [run_id] = launch_tiny()
    train_run(run_id, worker="here:1:train")
    assert stored_folders(run_id, home) == ["checkpoint-000002"]
    assert list(home.work_dir.iterdir()) == []


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_the_one_before_is_used_where_the_last_one_is_damaged_or_gone(
    launch_tiny: Launcher, home: Settings, harm: str
) -> None:
    [run_id] = launch_tiny(max_steps=4, save_steps=2)
    train_run(run_id, worker="here:1:train")
    last = Path(home.artifacts) / f"runs/{run_id}/checkpoint-000004"
    weights = (last / "adapter" / "adapter_model.safetensors").read_bytes()
    if harm == "gone":
        shutil.rmtree(last)
    else:
        (last / "optimizer.pt").write_bytes(b"")
    queue_again(run_id)
    train_run(run_id, worker="here:2:train")
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert (run.status, run.error) == (RunStatus.FINISHED, None)
        said = [event.message for event in runs.events(run_id, session=session)]
    assert "Going on from step 2." in said
    assert any("checkpoint-000004" in message and harm in message for message in said)
    assert (last / "adapter" / "adapter_model.safetensors").read_bytes() == weights


def test_a_run_with_nothing_left_to_go_on_from_fails_and_says_so(
    launch_tiny: Launcher, home: Settings
) -> None:
    [run_id] = launch_tiny(max_steps=4, save_steps=2)
    train_run(run_id, worker="here:1:train")
    shutil.rmtree(Path(home.artifacts) / f"runs/{run_id}")
    queue_again(run_id)
    train_run(run_id, worker="here:2:train")
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert run.status is RunStatus.FAILED
        assert "checkpoint-000004 are gone from the artifacts" in str(run.error)
