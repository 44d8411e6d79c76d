"""Children of the benchmark forked from a process that imported everything once.

The benchmark starts each child as a fresh process, so that its memory is its own. Whether the harness works
does not depend on that, and importing torch and TRL takes most of the time of a short job.
"""

import os
import sys
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks import child

PRELOADED = ["tests.forked_child", "benchmarks.decode", "benchmarks.draws", "benchmarks.trl_steps"]


class ForkedChild:
    """A forked child with what the benchmark uses of ``subprocess.Popen``."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._process: BaseProcess = context.Process(target=run_child, args=(folder, environment))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode


def run_child(folder: Path, environment: dict[str, str]) -> None:
    """Do what ``python -m benchmarks.child`` does."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, sys.__stdout__.fileno())
    os.dup2(log, sys.__stderr__.fileno())
    os.environ.update(environment)
    child.main(folder)
