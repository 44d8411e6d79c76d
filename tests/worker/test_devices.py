"""Runs that several processes train, from the queue to the stored result."""

from pathlib import Path

import pytest

from app.settings import Settings
from app.store import metrics, run_checkpoints, runs
from app.store.db import read_session
from app.store.enums import RunStatus
from tests.worker.conftest import Launcher
from worker import engine_job
from worker.reporter import StoreReporter
from worker.shutdown import shutting_down
from worker.training import train_next


def test_two_devices_train_as_one_does(launch_tiny: Launcher, home: Settings) -> None:
    fields = {"precision": "float32", "eval_prompts": 0, "probe_prompts": 0}
    [alone] = launch_tiny("hypo", **fields)
    [together] = launch_tiny("hypo", **fields, devices=2, per_device_train_batch_size=1)
    while train_next(worker="here:1:train"):
        continue
    with read_session() as session:
        for run_id in (alone, together):
            run = runs.get(run_id, session=session)
            assert (run.status, run.step, run.error) == (RunStatus.FINISHED, 2, None)
            assert run_checkpoints.last(run_id, session=session) is not None
        points = metrics.series([alone, together], ["loss", "loss/kl", "num_tokens"], session=session)
    for name in ("loss", "loss/kl", "num_tokens"):
        one, two = points[alone, name], points[together, name]
        assert [step for step, _ in one] == [step for step, _ in two] == [1, 2]
        assert [value for _, value in two] == pytest.approx([value for _, value in one], rel=1e-3, abs=1e-5)
    assert not list(home.work_dir.glob("run-*"))


def test_a_process_that_dies_fails_the_run_in_a_sentence(
    launch_tiny: Launcher, home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "dies.py"
    module.write_text(
        "from hypo_engine.distributed.devices import member\nimport os\nwith member():\n    os._exit(1)\n"
    )
    monkeypatch.setattr(engine_job, "RANK_COMMAND", (str(module),))
    [run_id] = launch_tiny(devices=2)
    assert train_next(worker="here:1:train")
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert run.error.startswith("Another process of the run died")


def test_a_wish_to_stop_reaches_every_process(launch_tiny: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has trained before, so its processes count different numbers of runs."""
    launch_tiny(max_steps=1)
    train_next(worker="here:1:train")
    [run_id] = launch_tiny("hypo", devices=2, per_device_train_batch_size=1, max_steps=60)
    told = StoreReporter.metrics

    def leave_after_the_first_step(self: StoreReporter, step: int, values: dict[str, float]) -> None:
        told(self, step, values)
        if "loss" in values:
            shutting_down.set()

    with monkeypatch.context() as patched:
        patched.setattr(StoreReporter, "metrics", leave_after_the_first_step)
        train_next(worker="here:1:train")
    shutting_down.clear()
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert (run.status, run.attempt) == (RunStatus.QUEUED, 0)
        checkpoint = run_checkpoints.last(run_id, session=session)
        assert checkpoint is not None
        assert 1 <= checkpoint.step < 10


def test_more_devices_than_there_are_fail_in_a_sentence(launch_tiny: Launcher) -> None:
    [run_id] = launch_tiny(devices=64, insist=True)
    assert train_next(worker="here:1:train")
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert run.error is not None
        assert run.error.startswith("devices is 64, but the number of ")
