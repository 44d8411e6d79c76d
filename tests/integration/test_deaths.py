"""Workers killed, terminated or frozen during a run: the run finishes once, or fails with a message."""

import os
import signal
from collections.abc import Callable

import pytest

from app.store import generations, metrics, run_checkpoints
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, RunStatus
from tests.integration.cluster import (
    Cluster,
    WorkerProcess,
    log_of,
    run_of,
    wait_for,
    wait_for_step,
    wait_until_over,
)

pytestmark = pytest.mark.servers

LaunchTiny = Callable[..., list[int]]
STEPS = 120
"""Enough steps for several seconds, so that a run is not over before it loses its worker."""


def assert_complete(run_id: int, *, attempt: int) -> None:
    """Assert that a finished run has every step's metrics and samples exactly once."""
    run = run_of(run_id)
    assert (run.status, run.step, run.attempt, run.error) == (RunStatus.FINISHED, STEPS, attempt, None)
    with read_session() as session:
        points = metrics.series([run_id], ["loss"], session=session)[run_id, "loss"]
        assert [step for step, _ in points] == list(range(1, STEPS + 1))
        for step in range(1, STEPS + 1):
            found = generations.of_run(run_id, session=session, kind=GenerationKind.ONLINE, step=step)
            assert len(found) == 4, f"step {step}"
        checkpoint = run_checkpoints.last(run_id, session=session)
    assert checkpoint is not None
    assert checkpoint.step == STEPS
    assert log_of(run_id).count("Finished.") == 1


def start_two(cluster: Cluster) -> tuple[WorkerProcess, WorkerProcess]:
    workers = cluster.start_worker("train", wait=False), cluster.start_worker("train", wait=False)
    cluster.wait_until_present(*workers)
    return workers


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_killed_worker_loses_its_run_to_its_neighbour(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    start_two(cluster)
    [run_id] = launch_tiny("hypo", max_steps=STEPS, save_steps=5)
    wait_for_step(run_id, 7)
    killed = cluster.holder_of(run_id)
    killed.kill()
    wait_until_over(run_id)
    assert_complete(run_id, attempt=2)
    assert cluster.holder_of(run_id) is not killed
    said = log_of(run_id)
    assert any(f":{killed.pid}:" in line and "stopped responding" in line for line in said)
    assert any(line.startswith("Continuing from step") for line in said)


def test_a_frozen_worker_that_wakes_up_changes_nothing(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    start_two(cluster)
    [run_id] = launch_tiny("hypo", max_steps=STEPS, save_steps=5)
    wait_for_step(run_id, 7)
    frozen = cluster.holder_of(run_id)
    with write_session() as session:  # SQLite has one writer: one frozen in a write would block the others
        session.connection()
        os.kill(frozen.pid, signal.SIGSTOP)
    wait_for(lambda: run_of(run_id).attempt == 2, "the neighbour")
    os.kill(frozen.pid, signal.SIGCONT)
    wait_until_over(run_id)
    assert_complete(run_id, attempt=2)
    assert frozen.alive


def test_a_worker_told_to_go_hands_its_run_on_and_the_attempt_does_not_count(
    cluster: Cluster, launch_tiny: LaunchTiny
) -> None:
    first, second = start_two(cluster)
    [run_id] = launch_tiny("hypo", max_steps=STEPS)
    wait_for_step(run_id, 4)
    going = cluster.holder_of(run_id)
    assert going.terminate() == 0
    wait_until_over(run_id)
    assert_complete(run_id, attempt=1)
    assert cluster.holder_of(run_id) is (second if going is first else first)
    said = log_of(run_id)
    assert "The worker was asked to stop; the run waits for the next one." in said
    assert any(line.startswith("Continuing from step") for line in said)


def test_a_run_that_kills_every_worker_fails_and_says_so(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    [run_id] = launch_tiny("dpo", max_steps=100_000)
    for attempt in (1, 2, 3):
        worker = cluster.start_worker("train", wait=False)
        wait_for(lambda attempt=attempt: run_of(run_id).attempt == attempt, f"attempt {attempt}")  # type: ignore[misc]
        worker.kill()
    cluster.start_worker("generate", wait=False)
    [run] = wait_until_over(run_id)
    assert (run.status, run.attempt) == (RunStatus.FAILED, 3)
    assert run.error is not None
    assert run.error.startswith("The worker died 3 times during this run")
    assert "lower the batch size" in run.error
