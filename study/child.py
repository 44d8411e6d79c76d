"""A process of its own for what needs the model: `python -m study.child train RUN` or `sample ...`.

Its memory is the run's alone, and it ends with its parent.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

from app.local.parent_watch import watch_parent
from app.settings import get_settings
from study.pool import PoolSize
from study.sampling import fill_pool
from worker.identity import hold_life, worker_name
from worker.shutdown import exit_after, shutting_down
from worker.training import train_next


def main(arguments: list[str]) -> None:
    """Do one job, and write a checkpoint first if told to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    watch_parent()
    hold_life()
    work(arguments[0], arguments[1:])


def work(job: str, rest: Sequence[str]) -> None:
    """Train the run of this number if it waits, or fill a pool."""
    if job == "train":
        train_next(worker=worker_name("train"), only=int(rest[0]))
    elif job == "sample":
        path, model, *sizes = rest
        fill_pool(Path(path), PoolSize(*map(int, sizes)), model, models_dir=get_settings().models_dir)


def _stop(_number: int, _frame: Any) -> None:
    """Finish the step, write a checkpoint, and end."""
    shutting_down.set()
    exit_after()


if __name__ == "__main__":
    main(sys.argv[1:])
