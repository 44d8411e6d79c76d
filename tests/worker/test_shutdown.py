"""A process told to stop exits in time and releases its work."""

import subprocess
import sys
import time
from pathlib import Path

from app.store.db import write_session
from app.store.enums import RunStatus
from tests.worker.conftest import Launcher
from tests.worker.test_training import run_of
from worker.scratch import scratch_folder, sweep

STUCK = """
import pathlib, sys, time
from worker import shutdown
with shutdown.released_on_exit(lambda: pathlib.Path(sys.argv[1]).write_text("released")):
    shutdown.exit_after(0.3)
    time.sleep(60)
"""

QUICK = """
import pathlib, sys, time
from worker import shutdown
with shutdown.released_on_exit(lambda: pathlib.Path(sys.argv[1]).write_text("released")):
    shutdown.exit_after(0.3)
time.sleep(1)
sys.exit(7)
"""


def test_a_long_step_is_cut_short_and_its_work_released(tmp_path: Path) -> None:
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", STUCK, str(tmp_path / "said")], timeout=40, check=False)
    assert ended.returncode == 0
    assert time.monotonic() - started < 30
    assert (tmp_path / "said").read_text() == "released"


def test_a_step_that_ends_in_time_is_left_alone(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", QUICK, str(tmp_path / "said")], timeout=40, check=False)
    assert ended.returncode == 7
    assert not (tmp_path / "said").exists()


def test_scratch_of_runs_that_are_over_or_gone_is_swept(launch_tiny: Launcher) -> None:
    [waiting] = launch_tiny()
    [over] = launch_tiny()
    with write_session() as session:
        session.merge(run_of(over)).status = RunStatus.CANCELLED
    folders = [scratch_folder(number) for number in (waiting, over, 99)]
    for folder in folders:
        (folder / "attempt").mkdir(parents=True)
    with write_session() as session:
        sweep(session=session)
    assert [folder.exists() for folder in folders] == [True, False, False]
