"""Eight workers and 160 messages: every run is claimed once, and none waits while a worker is idle."""

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise

import pytest

from app import dispatch
from app.store import runs, workers
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.store.models import Run
from app.store.run_transitions import RUN_LEASES
from tests.integration.cluster import Cluster, log_of, wait_for, wait_until_over

pytestmark = pytest.mark.servers

LaunchTiny = Callable[..., list[int]]
WORKERS, RUNS = 8, 160
IDLE_SECONDS = 30.0
"""Longer than a claim takes on a busy machine; the bug under test delayed runs by a minute."""


def queue_runs(like: Run) -> list[int]:
    """Queue many runs at once, and send each run's message."""
    with write_session() as session:
        run_ids = [
            runs.create(
                session=session, name=f"run {number}", config=like.config, dataset_id=like.dataset_id
            ).id
            for number in range(RUNS)
        ]
        for run_id in run_ids:
            RUN_LEASES.mark_sent(run_id, session=session)
    assert all(dispatch.send_run(run_id) for run_id in run_ids)
    return run_ids


def present() -> set[str]:
    with read_session() as session:
        return {worker.id for worker in workers.present(session=session)}


@pytest.mark.parametrize("database", ["postgresql"])
def test_no_run_waits_beside_an_idle_worker(
    cluster: Cluster, launch_tiny: LaunchTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAIMERS", str(WORKERS))
    monkeypatch.setenv("HYPO_LEASE_SECONDS", "60")
    monkeypatch.setenv("HYPO_RESEND_SECONDS", "600")
    cluster.start_worker("train", module="tests.integration.claimers", wait=False)
    wait_for(lambda: len(present()) == WORKERS, "all workers")
    [first] = launch_tiny("dpo")
    [like] = wait_until_over(first)
    assert like.status is RunStatus.FINISHED, like.error
    found = wait_until_over(*queue_runs(like))
    assert {(run.status, run.attempt) for run in found} == {(RunStatus.FINISHED, 1)}
    for run in found:
        assert len([line for line in log_of(run.id) if line.startswith("Started by")]) == 1
    assert {run.worker for run in found} == present(), "every worker took runs"
    assert longest_idle(found) < IDLE_SECONDS


def longest_idle(found: list[Run]) -> float:
    """The longest time in seconds that a worker was idle while a run waited."""
    queued = max(run.created_at for run in found)
    last_claim = max(_time(run.started_at) for run in found)
    idle = 0.0
    for worker in {run.worker for run in found}:
        mine = sorted((run for run in found if run.worker == worker), key=lambda run: _time(run.started_at))
        gaps = [(queued, _time(mine[0].started_at))]
        gaps += [(_time(one.finished_at), _time(next_one.started_at)) for one, next_one in pairwise(mine)]
        gaps.append((_time(mine[-1].finished_at), last_claim))
        idle = max([idle, *((until - since).total_seconds() for since, until in gaps)])
    return idle


def _time(value: datetime | None) -> datetime:
    assert value is not None
    return value
