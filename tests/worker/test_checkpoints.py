"""Checkpoints of a run in the artifacts: retention, and completeness at the end."""

import shutil
import threading
from pathlib import Path

import pytest

from app import artifacts
from app.launch import resume
from app.settings import Settings
from app.store import run_checkpoints, run_events, runs
from app.store.claims import Claim
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.store.models import utcnow
from app.store.run_transitions import RUN_LEASES
from tests.worker.conftest import Launcher
from worker.reporter import Kept, StoreReporter
from worker.training import train_next


def steps(run_id: int) -> list[int]:
    with read_session() as session:
        return [checkpoint.step for checkpoint in run_checkpoints.of_run(run_id, session=session)]


def stored_folders(run_id: int, home: Settings) -> list[str]:
    return sorted(path.name for path in (Path(home.artifacts) / f"runs/{run_id}").iterdir())


def queue_again(run_id: int) -> None:
    """Requeue a run as the keeper does when its lease expires."""
    with write_session() as session:
        run = runs.get(run_id, session=session)
        run.status, run.lease_id, run.lease_until = RunStatus.QUEUED, None, utcnow()


def saved(tmp_path: Path, step: int) -> str:
    folder = tmp_path / f"checkpoint-{step:06d}"
    folder.mkdir()
    (folder / "state.json").write_text(str(step))
    return str(folder)


@pytest.mark.parametrize(
    ("saving", "kept", "at_the_end"),
    [
        ({"save_steps": 5}, [5, 10, 15], [5, 10, 15]),
        ({"save_steps": 5, "save_total_limit": 1}, [10, 15], [15]),
        ({}, [10, 15], [15]),
    ],
)
def test_the_last_two_are_kept_unless_all_are_wanted(
    launch_tiny: Launcher,
    home: Settings,
    tmp_path: Path,
    saving: dict[str, int],
    kept: list[int],
    at_the_end: list[int],
) -> None:
    [run_id] = launch_tiny()
    with write_session() as session:
        RUN_LEASES.claim(run_id, session=session, worker="w", lease_seconds=60, lease="lease")
    reporter = StoreReporter(Claim(run_id, "lease", 1), threading.Event(), keep=Kept.of(saving))
    for step in (5, 10, 15):
        reporter.checkpoint(step, saved(tmp_path, step))
    assert steps(run_id) == kept
    assert stored_folders(run_id, home) == [f"checkpoint-{step:06d}" for step in kept]
    reporter.finished()
    assert steps(run_id) == at_the_end
    assert stored_folders(run_id, home) == [f"checkpoint-{step:06d}" for step in at_the_end]


def test_the_best_is_kept_besides(launch_tiny: Launcher, home: Settings, tmp_path: Path) -> None:
    [run_id] = launch_tiny()
    with write_session() as session:
        RUN_LEASES.claim(run_id, session=session, worker="w", lease_seconds=60, lease="lease")
    keep = Kept.of({"metric_for_best_model": "eval_rewards/accuracies"})
    reporter = StoreReporter(Claim(run_id, "lease", 1), threading.Event(), keep=keep)
    for step, accuracy in ((0, 0.9), (5, 0.5), (10, 0.8), (15, 0.6), (20, 0.8), (25, 0.1)):
        reporter.metrics(step, {"eval_rewards/accuracies": accuracy})
        if step:
            reporter.checkpoint(step, saved(tmp_path, step))
    assert steps(run_id) == [10, 20, 25]
    assert stored_folders(run_id, home) == [f"checkpoint-{step:06d}" for step in (10, 20, 25)]
    reporter.finished()
    assert steps(run_id) == [10, 25]
    assert stored_folders(run_id, home) == [f"checkpoint-{step:06d}" for step in (10, 25)]


def test_who_lost_the_lease_stores_no_files(launch_tiny: Launcher, home: Settings, tmp_path: Path) -> None:
    [run_id] = launch_tiny()
    lost = threading.Event()
    lost.set()
    StoreReporter(Claim(run_id, "lease", 1), lost).checkpoint(5, saved(tmp_path, 5))
    assert steps(run_id) == []
    assert not (Path(home.artifacts) / f"runs/{run_id}").exists()


def test_a_death_while_the_last_one_was_stored_loses_it_not(
    launch_tiny: Launcher, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run_id] = launch_tiny()

    class Death(BaseException):
        """A simulated SIGKILL, which no handler catches."""

    def die(folder: Path, key: str) -> None:
        raise Death

    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "save_folder", die)
        with pytest.raises(Death):
            train_next(worker="here:1:train")
    with read_session() as session:
        assert runs.get(run_id, session=session).status is RunStatus.RUNNING
    queue_again(run_id)
    train_next(worker="here:2:train")
    with read_session() as session:
        assert runs.get(run_id, session=session).status is RunStatus.FINISHED
    assert steps(run_id) == [2]
    assert stored_folders(run_id, home) == ["checkpoint-000002"]


def test_a_run_that_is_over_leaves_no_scratch(launch_tiny: Launcher, home: Settings) -> None:
    [run_id] = launch_tiny()
    train_next(worker="here:1:train")
    assert stored_folders(run_id, home) == ["checkpoint-000002"]
    assert list(home.work_dir.iterdir()) == []


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_the_one_before_is_used_where_the_last_one_is_damaged_or_gone(
    launch_tiny: Launcher, home: Settings, harm: str
) -> None:
    [run_id] = launch_tiny(max_steps=4, save_steps=2)
    train_next(worker="here:1:train")
    last = Path(home.artifacts) / f"runs/{run_id}/checkpoint-000004"
    weights = (last / "adapter" / "adapter_model.safetensors").read_bytes()
    if harm == "missing":
        shutil.rmtree(last)
    else:
        (last / "optimizer.pt").write_bytes(b"")
    queue_again(run_id)
    train_next(worker="here:2:train")
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert (run.status, run.error) == (RunStatus.FINISHED, None)
        said = [event.message for event in run_events.of_run(run_id, session=session)]
    assert "Continuing from step 2." in said
    assert any("checkpoint-000004" in message and harm in message for message in said)
    assert (last / "adapter" / "adapter_model.safetensors").read_bytes() == weights


def test_earlier_checkpoints_keep_their_weights_and_the_last_two_their_state(
    launch_tiny: Launcher, home: Settings, tmp_path: Path
) -> None:
    [run_id] = launch_tiny(max_steps=4, save_steps=1)
    train_next(worker="here:1:train")
    root = Path(home.artifacts)
    with read_session() as session:
        stored = run_checkpoints.of_run(run_id, session=session)
    assert [(checkpoint.step, checkpoint.resumable) for checkpoint in stored] == [
        (1, False),
        (2, False),
        (3, True),
        (4, True),
    ]
    for checkpoint in stored:
        folder = root / checkpoint.path
        assert (folder / "optimizer.pt").exists() is checkpoint.resumable
        assert checkpoint.size_bytes == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        weights = artifacts.fetch_weights(checkpoint.path, tmp_path / str(checkpoint.step))
        assert (weights / "adapter_model.safetensors").is_file()
    shutil.rmtree(root / stored[3].path)
    with write_session() as session:
        runs.get(run_id, session=session).status = RunStatus.FAILED
    resume(run_id)
    assert train_next(worker="here:2:train")
    with read_session() as session:
        assert runs.get(run_id, session=session).status is RunStatus.FINISHED
        assert "Continuing from step 3." in [e.message for e in run_events.of_run(run_id, session=session)]


def test_without_any_state_left_a_run_begins_anew(launch_tiny: Launcher, home: Settings) -> None:
    [run_id] = launch_tiny(max_steps=2, save_steps=1)
    train_next(worker="here:1:train")
    with write_session() as session:
        for checkpoint in run_checkpoints.of_run(run_id, session=session):
            session.merge(checkpoint).resumable = False
        runs.get(run_id, session=session).status = RunStatus.CANCELLED
    resume(run_id)
    assert train_next(worker="here:2:train")
    with read_session() as session:
        assert runs.get(run_id, session=session).status is RunStatus.FINISHED


def test_a_run_with_nothing_left_to_go_on_from_fails_and_says_so(
    launch_tiny: Launcher, home: Settings
) -> None:
    [run_id] = launch_tiny(max_steps=4, save_steps=2)
    train_next(worker="here:1:train")
    shutil.rmtree(Path(home.artifacts) / f"runs/{run_id}")
    queue_again(run_id)
    train_next(worker="here:2:train")
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert run.status is RunStatus.FAILED
        assert "checkpoint-000004 are missing from the artifact store" in str(run.error)
