"""Python processes forked from one that has imported torch and other libraries already.

A fresh process takes seconds to import them, which is most of the time of a short test. Nothing of app/ or
worker/ is imported beforehand, so their settings come from the child's own environment.
"""

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = [
    "celery.bin.worker",
    "celery.concurrency.solo",
    "celery.worker.consumer",
    "hypo_engine.generate",
    "hypo_engine.training.run",
    "kombu.transport.redis",
    "peft",
    "psycopg",
    "sqlalchemy.orm",
    "tests.forked",
    "transformers.models.llama.modeling_llama",
]


class ForkedPython:
    """`python -m MODULE ARGUMENTS` in a process group of its own, with what is used of `Popen`."""

    def __init__(
        self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        arguments = (module, list(arguments), dict(environment), str(log), str(Path.cwd()))
        self._process: BaseProcess = context.Process(target=_run, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; negative after a signal.

        Raises:
            subprocess.TimeoutExpired: the process is still alive.
        """
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return status


def start_python(
    module: str, arguments: Sequence[str], *, environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """The same in a fresh process."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _run(module: str, arguments: list[str], environment: dict[str, str], log: str, folder: str) -> None:
    os.setsid()
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
