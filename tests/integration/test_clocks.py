"""Workers with skewed clocks, one ahead and one behind: no healthy run is reaped."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.store import run_transitions
from app.store.db import write_session
from app.store.enums import RunStatus
from tests.integration.cluster import Cluster, log_of, run_of, wait_for, wait_until_over

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(shutil.which("cc") is None, reason="this machine has no C compiler"),
]

LaunchTiny = Callable[..., list[int]]
SHIFT = 600
"""Clock skew in seconds; a lease of the cluster lasts three."""


@pytest.fixture(scope="module")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preload library that shifts a process's wall clock."""
    source = Path(__file__).with_name("shifted_clock.c")
    library = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def shifted(library: Path, seconds: int) -> dict[str, str]:
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(seconds)}


@pytest.mark.parametrize("seconds", [SHIFT, -SHIFT])
def test_the_clock_is_another(shifted_clock: Path, seconds: int) -> None:
    code = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())"
    environment = {**os.environ, **shifted(shifted_clock, seconds)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    wall, now, steady = map(float, said.stdout.split())
    assert wall - time.time() == pytest.approx(seconds, abs=30)
    assert now - time.time() == pytest.approx(seconds, abs=30)
    assert steady == pytest.approx(time.monotonic(), abs=30)


@pytest.mark.parametrize("database", ["postgresql"])
def test_wrong_clocks_take_no_healthy_run(
    cluster: Cluster, launch_tiny: LaunchTiny, shifted_clock: Path
) -> None:
    environments = [shifted(shifted_clock, SHIFT), shifted(shifted_clock, -SHIFT)]
    started = [cluster.start_worker("train", wait=False, environment=given) for given in environments]
    cluster.wait_until_present(*started)
    run_ids = [run_id for _ in started for run_id in launch_tiny("dpo", max_steps=100_000)]
    wait_for(lambda: all(run_of(run_id).step > 0 for run_id in run_ids), "a run on each worker")
    time.sleep(8)  # longer than two leases
    found = [run_of(run_id) for run_id in run_ids]
    assert {(run.status, run.attempt) for run in found} == {(RunStatus.RUNNING, 1)}
    assert len({run.worker for run in found}) == len(started)
    with write_session() as session:
        for run_id in run_ids:
            run_transitions.request_cancel(run_id, session=session)
    assert {run.status for run in wait_until_over(*run_ids)} == {RunStatus.CANCELLED}
    for run_id in run_ids:
        assert log_of(run_id)[-2:] == ["Asked to cancel.", "Cancelled."], "by its own process"
    assert all(worker.alive for worker in started)
