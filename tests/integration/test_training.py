"""Training in real worker processes: delivered twice, cancelled, shared, and with a broker crash."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app import dispatch
from app.settings import get_settings
from app.store import generations, metrics, run_checkpoints, run_transitions
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, RunStatus
from tests.integration.cluster import Cluster, log_of, run_of, wait_for_step, wait_until_over

pytestmark = pytest.mark.servers

LaunchTiny = Callable[..., list[int]]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_twins_go_from_queued_to_finished(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    dpo, hypo = launch_tiny("twins", max_steps=4, save_steps=2)
    assert run_of(dpo).sent_at is not None
    worker = cluster.start_worker("train")
    for run in wait_until_over(dpo, hypo):
        assert (run.status, run.step, run.attempt, run.error) == (RunStatus.FINISHED, 4, 1, None)
        assert run.worker == worker.name
    with read_session() as session:
        points = metrics.series([dpo, hypo], ["loss", "eval_rewards/margins"], session=session)
        assert [step for step, _ in points[hypo, "loss"]] == [1, 2, 3, 4]
        assert [step for step, _ in points[dpo, "eval_rewards/margins"]] == [0, 4]
        online = GenerationKind.ONLINE
        assert generations.count_of_run(hypo, session=session, kind=online) == 4 * 2 * 2
        assert generations.count_of_run(dpo, session=session, kind=online) == 0
        for run_id in (dpo, hypo):
            saved = run_checkpoints.of_run(run_id, session=session)
            assert [checkpoint.step for checkpoint in saved] == [2, 4]
            for checkpoint in saved:
                folder = Path(get_settings().artifacts) / checkpoint.path
                assert (folder / "adapter" / "adapter_model.safetensors").is_file()

    before = run_of(dpo)
    assert dispatch.send_run(dpo)
    [after] = launch_tiny("dpo", max_steps=1)
    wait_until_over(after)
    again = run_of(dpo)
    assert (again.attempt, again.finished_at) == (1, before.finished_at), "a duplicate delivery did something"
    assert worker.terminate() == 0
    assert worker.name is None


def test_a_running_run_is_cancelled_and_the_next_one_begins(
    cluster: Cluster, launch_tiny: LaunchTiny
) -> None:
    cluster.start_worker("train", wait=False)
    [long] = launch_tiny("hypo", max_steps=100_000)
    [waiting] = launch_tiny("dpo")
    [dropped] = launch_tiny("dpo")
    wait_for_step(long, 2)
    for run_id in (dropped, long):
        with write_session() as session:
            run_transitions.request_cancel(run_id, session=session)
    asked = time.monotonic()
    [cancelled] = wait_until_over(long)
    assert time.monotonic() - asked < 10
    assert cancelled.status is RunStatus.CANCELLED
    assert log_of(long)[-2:] == ["Asked to cancel.", "Cancelled."]
    assert wait_until_over(waiting)[0].status is RunStatus.FINISHED
    assert run_of(dropped).status is RunStatus.CANCELLED
    assert run_of(dropped).attempt == 0


def test_a_broker_that_loses_everything_loses_no_run(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    worker = cluster.start_worker("train")
    [first] = launch_tiny("dpo", max_steps=400)
    [second] = launch_tiny("dpo")
    wait_for_step(first, 1)
    cluster.broker.kill()
    [third] = launch_tiny("dpo")
    assert run_of(third).sent_at is None
    cluster.broker.start()
    for run in wait_until_over(first, second, third):
        assert (run.status, run.attempt) == (RunStatus.FINISHED, 1)
    assert worker.alive


@pytest.mark.parametrize("database", ["postgresql"])
def test_two_workers_share_the_queue(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    run_ids = [run_id for _ in range(4) for run_id in launch_tiny("dpo", max_steps=10)]
    for run_id in run_ids:
        assert dispatch.send_run(run_id), "every message comes twice"
    cluster.wait_until_present(*(cluster.start_worker("train", wait=False) for _ in range(2)))
    finished = wait_until_over(*run_ids)
    assert {(run.status, run.attempt) for run in finished} == {(RunStatus.FINISHED, 1)}
    for run_id in run_ids:
        assert len([line for line in log_of(run_id) if line.startswith("Started by")]) == 1
