"""From a queued run to a trained one, with the real engine on a tiny model."""

import shutil
from pathlib import Path

import pytest

from app import artifacts, dispatch
from app.errors import Refused
from app.imports.service import add_pairs
from app.settings import Settings
from app.store import datasets, generations, metrics, run_checkpoints, run_events, run_transitions, runs
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, RunStatus
from app.store.models import Run
from hypo_engine.data.formats import Pair
from tests.worker.conftest import Launcher
from worker.keeper import Maintenance
from worker.reporter import StoreReporter
from worker.shutdown import shutting_down
from worker.training import train_next


def run_of(run_id: int) -> Run:
    with read_session() as session:
        return runs.get(run_id, session=session)


def test_twins_end_with_metrics_samples_and_checkpoints(launch_tiny: Launcher, home: Settings) -> None:
    dpo, hypo = launch_tiny("twins")
    while train_next(worker="here:1:train"):
        continue
    with read_session() as session:
        for run_id in (dpo, hypo):
            run = runs.get(run_id, session=session)
            assert (run.status, run.step, run.total_steps, run.error) == (RunStatus.FINISHED, 2, 2, None)
            assert run.lease_id is None
            last = runs.final_metrics(run_id, session=session)
            assert last["rewards/margins"] is not None
            assert "eval_objective/kl_stderr" in last
            checkpoint = run_checkpoints.last(run_id, session=session)
            assert checkpoint is not None
            assert checkpoint.step == 2
            assert (Path(home.artifacts) / checkpoint.path / "adapter" / "adapter_config.json").is_file()
        points = metrics.series([dpo, hypo], ["loss/dpo", "loss", "eval_rewards/margins"], session=session)
        online = generations.of_run(hypo, session=session, kind=GenerationKind.ONLINE)
        assert len(online) == 2 * 2 * 2
        assert all(sample.policy_logp is not None and sample.reference_logp is not None for sample in online)
        assert not generations.of_run(dpo, session=session, kind=GenerationKind.ONLINE)
        assert generations.of_run(dpo, session=session, kind=GenerationKind.PROBE)
    assert points[dpo, "eval_rewards/margins"][0] == (0, pytest.approx(0.0, abs=1e-6))
    assert points[dpo, "loss"][0][1] == pytest.approx(0.6931472, abs=1e-6)


def test_a_run_starts_once_the_reward_model_that_it_waits_for_is_trained(
    launch_tiny: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(dispatch, "send_run", lambda run_id: sent.append(run_id) or True)
    reward, rloo = launch_tiny("rloo", reward="train", max_steps=1, eval_prompts=0, probe_prompts=0)
    assert sent == [reward]
    assert run_of(rloo).depends_on_id == reward
    assert train_next(worker="here:1:train")
    assert sent == [reward, rloo]
    assert run_of(rloo).sent_at is not None
    assert train_next(worker="here:1:train")
    assert not train_next(worker="here:1:train")
    for run_id in (reward, rloo):
        assert (run_of(run_id).status, run_of(run_id).error) == (RunStatus.FINISHED, None)
    with read_session() as session:
        assert "objective/scores" in runs.final_metrics(rloo, session=session)


def test_a_keeper_fails_the_runs_that_wait_for_a_run_that_ended(launch_tiny: Launcher) -> None:
    reward, rloo = launch_tiny("rloo", reward="train")
    with write_session() as session:  # as if it had ended in the moment of the launch
        runs.get(reward, session=session).status = RunStatus.FAILED
    Maintenance().run()
    assert run_of(rloo).status is RunStatus.FAILED


def test_a_second_delivery_does_nothing(launch_tiny: Launcher) -> None:
    [run_id] = launch_tiny()
    train_next(worker="here:1:train")
    before = run_of(run_id)
    train_next(worker="there:2:train")
    after = run_of(run_id)
    assert (after.attempt, after.worker, after.finished_at) == (1, "here:1:train", before.finished_at)


def test_a_wish_to_cancel_ends_the_run_between_steps(
    launch_tiny: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run_id] = launch_tiny(max_steps=50)
    heard = StoreReporter.metrics

    def cancel_after_first_step(self: StoreReporter, step: int, values: dict[str, float]) -> None:
        heard(self, step, values)
        if step == 1 and "loss" in values:
            with write_session() as session:
                run_transitions.request_cancel(run_id, session=session)

    monkeypatch.setattr(StoreReporter, "metrics", cancel_after_first_step)
    monkeypatch.setattr("worker.reporter.WISH_SECONDS", 0.0)
    train_next(worker="here:1:train")
    run = run_of(run_id)
    assert run.status is RunStatus.CANCELLED
    assert 1 <= run.step < 50
    with read_session() as session:
        assert run_checkpoints.last(run_id, session=session) is not None
        assert run_events.of_run(run_id, session=session)[-1].message == "Cancelled."


def test_a_worker_told_to_go_hands_the_run_to_the_next(
    launch_tiny: Launcher, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [straight] = launch_tiny(max_steps=4)
    train_next(worker="here:1:train")
    [run_id] = launch_tiny(max_steps=4)
    heard = StoreReporter.metrics

    def leave_after_second_step(self: StoreReporter, step: int, values: dict[str, float]) -> None:
        heard(self, step, values)
        if step == 2 and "loss" in values:
            shutting_down.set()

    with monkeypatch.context() as patched:
        patched.setattr(StoreReporter, "metrics", leave_after_second_step)
        train_next(worker="here:1:train")
    released = run_of(run_id)
    assert (released.status, released.attempt, released.sent_at) == (RunStatus.QUEUED, 0, None)
    shutting_down.clear()
    shutil.rmtree(home.work_dir)  # the next worker is another machine: the artifacts have the checkpoint
    train_next(worker="there:2:train")
    resumed = run_of(run_id)
    assert (resumed.status, resumed.step, resumed.attempt) == (RunStatus.FINISHED, 4, 1)
    with read_session() as session:
        points = metrics.series([straight, run_id], ["loss"], session=session)
    assert points[run_id, "loss"] == points[straight, "loss"]


def test_a_model_that_does_not_exist_fails_in_one_sentence(launch_tiny: Launcher, tmp_path: Path) -> None:
    [run_id] = launch_tiny(model_name_or_path=str(tmp_path / "nothing"))
    train_next(worker="here:1:train")
    run = run_of(run_id)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert "nothing" in run.error
    assert run.traceback is not None
    assert "Traceback" in run.traceback
    assert "Traceback" not in run.error


def test_a_dataset_deleted_after_the_launch_still_trains_the_run(
    launch_tiny: Launcher, dataset_id: int
) -> None:
    [run_id] = launch_tiny()
    with write_session() as session, pytest.raises(Refused, match="run"):
        datasets.delete(dataset_id, session=session)
    with write_session() as session:
        datasets.get(dataset_id, session=session).deleted_at = run_of(run_id).created_at
    train_next(worker="here:1:train")
    assert run_of(run_id).status is RunStatus.FINISHED


def test_a_full_disk_keeps_what_was_measured(launch_tiny: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    [run_id] = launch_tiny()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts, "save_folder", full)
    train_next(worker="here:1:train")
    run = run_of(run_id)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert "disk is full" in run.error
    with read_session() as session:
        assert runs.final_metrics(run_id, session=session)["loss"] > 0


def test_a_worker_that_lost_its_lease_writes_no_more(
    launch_tiny: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run_id] = launch_tiny(max_steps=6)
    heard = StoreReporter.metrics

    def lose_lease(self: StoreReporter, step: int, values: dict[str, float]) -> None:
        heard(self, step, values)
        if step == 1 and "loss" in values:
            with write_session() as session:
                runs.get(run_id, session=session).lease_id = "somebody else"

    monkeypatch.setattr(StoreReporter, "metrics", lose_lease)
    train_next(worker="here:1:train")
    run = run_of(run_id)
    assert (run.status, run.lease_id) == (RunStatus.RUNNING, "somebody else")
    assert run.step <= 1


def test_a_run_counts_pairs_by_the_weights_of_its_dataset(
    home: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    pairs = [
        Pair(f"Say {n}.", f" yes {n}" + n * " more", f" no {n}", weight=5.0 if n else 1.0) for n in range(2)
    ]
    added = add_pairs(pairs=pairs, name="weighed", source="a test", held_out=0.0)
    nothing = {"eval_pairs": 0, "eval_prompts": 0, "probe_prompts": 0, "max_steps": 1}
    nothing["max_completion_length"] = 40
    launcher = Launcher(added.id, tiny_model)
    ids = [launcher("sft", **nothing, use_pair_weights=used)[0] for used in (True, False)]
    while train_next(worker="here:1:train"):
        continue
    with read_session() as session:
        weighed, plain = (runs.final_metrics(run, session=session) for run in ids)
    assert weighed["logps/chosen"] == plain["logps/chosen"]
    assert weighed["loss"] != plain["loss"]
