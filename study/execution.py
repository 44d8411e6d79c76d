"""One run of the plan, as a run of the app: queued, trained by a worker's code in a child process, tagged."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.launch import launch, resume
from app.run_edits import Edit, edit
from app.settings import get_settings
from app.store import runs
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run
from hypo_engine.config import parse_config
from study.plan import agree
from worker.keeper import Maintenance

TAG: Final = "study"
POLL_SECONDS: Final = 2.0
MOST_CHILDREN: Final = 5
"""Child processes for one run; each but the last one gave it back to the queue."""


class RunFailed(RuntimeError):
    """A run of the plan failed; the message says why."""


class Stopped(RuntimeError):
    """The study was stopped; the next start goes on."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a child process took: seconds of processor time, all cores together, and the most bytes of memory.

    Unlike the time on a clock, processor time hardly depends on what else the machine does.
    """

    processor: float
    memory: int


def find_or_queue(name: str, dataset_id: int, values: Mapping[str, Any]) -> int:
    """The run of this name on this dataset with this configuration, queued if there is none."""
    method = str(values["method"])
    wanted = parse_config(values).model_dump(mode="json")
    with read_session() as session:
        for run in runs.find(session=session, tag=TAG, name=name):
            alike = run.name == name and agree(run.config, wanted, beside=("model_name_or_path",))
            if alike and run.dataset_id == dataset_id:
                return run.id
    [queued] = launch(method, dataset_id, dict(values), name=name)
    edit([queued.id], Edit(tag=(TAG,)))
    return queued.id


def finish(run_id: int) -> Spent | None:
    """Train a run to its end, or wait for the worker that has it; None if this process did not train it.

    Raises:
        RunFailed: the run failed or was cancelled.
        Stopped: the process was told to stop.
    """
    spent, children, keeper = None, 0, Maintenance()
    while not (run := _run(run_id)).status.is_over:
        keeper.run()  # returns the runs of dead workers to the queue
        if _run(run_id).status is RunStatus.QUEUED:
            if (children := children + 1) > MOST_CHILDREN:
                raise RunFailed(
                    f"{run.name} is still queued after {MOST_CHILDREN} attempts; its log says why."
                )
            spent = in_child("train", [str(run_id)])
        else:
            time.sleep(POLL_SECONDS)
    if run.status is not RunStatus.FINISHED:
        raise RunFailed(f"{run.name} is {run.status.value}: {run.error or 'somebody cancelled it'}")
    return spent


def number_of(name: str, dataset_id: int) -> int:
    """The newest finished run of the study with this name on a dataset.

    Raises:
        RunFailed: there is none.
    """
    found = _finished(name, dataset_id)
    if found is None:
        raise RunFailed(f"The run {name} is not in this store; start the study again.")
    return found.id


def has_finished(name: str, dataset_id: int) -> bool:
    """Whether the store has a finished run of this name on a dataset."""
    return _finished(name, dataset_id) is not None


def _finished(name: str, dataset_id: int) -> Run | None:
    with read_session() as session:
        found = runs.find(session=session, tag=TAG, name=name, status=RunStatus.FINISHED)
        return next((run for run in found if run.name == name and run.dataset_id == dataset_id), None)


def start_again(run_id: int) -> None:
    """Queue a run again that failed or was cancelled in an earlier start of the study."""
    if _run(run_id).status in (RunStatus.FAILED, RunStatus.CANCELLED):
        resume(run_id)


def in_child(job: str, arguments: Sequence[str]) -> Spent:
    """Do a job of `study.child` in a process of its own.

    Raises:
        Stopped: the process was told to stop while the child ran.
        RunFailed: the child ended with an error.
    """
    home = {"HYPO_HOME": str(get_settings().root), "HYPO_WATCH_PARENT": "1"}
    root = Path(__file__).resolve().parent.parent
    child = subprocess.Popen(
        [sys.executable, "-m", "study.child", job, *arguments],
        cwd=root,
        env={**os.environ, **home},
        stdin=subprocess.PIPE,
    )
    try:
        _, status, usage = os.wait4(child.pid, 0)
    except KeyboardInterrupt:
        os.wait4(child.pid, 0)  # it heard the signal too, and writes a checkpoint
        raise Stopped from None
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.returncode = 0
    if (code := os.waitstatus_to_exitcode(status)) != 0:
        raise RunFailed(f"The child for {job} {' '.join(arguments)} ended with status {code}.")
    return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _run(run_id: int) -> Run:
    with read_session() as session:
        return runs.get(run_id, session=session)
