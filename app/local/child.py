"""A child process of the supervisor, with its log and the pipe by which it detects the parent's end."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.environment import environment_for


@dataclass
class Child:
    """A child process that the supervisor keeps alive.

    `kind` says which secrets it gets; by default its name up to the first hyphen.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    log_file: Path
    kind: str = ""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0

    def start(self) -> None:
        self.close_pipe()
        with _open_log(self.log_file) as output:
            self.process = subprocess.Popen(
                self.command,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started = time.monotonic()

    def _environment(self) -> dict[str, str]:
        """The variables that this kind of process needs, without the secrets of others."""
        own = {**self.environment, "PYTHONUNBUFFERED": "1", "HYPO_WATCH_PARENT": "1"}
        return environment_for(self.kind or self.name.partition("-")[0]) | own

    def close_pipe(self) -> None:
        """Close the pipe to an ended process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def stop_all(children: Sequence[Child], seconds: float) -> None:
    """Stop children with SIGTERM, then with SIGKILL after a timeout."""
    running = [child.process for child in children if child.alive and child.process is not None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for process in running:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for child in children:
        child.close_pipe()


def last_line(path: Path) -> str:
    """The last non-blank line of a log."""
    try:
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1] if lines else f"none; see {path}"


def _open_log(path: Path) -> IO[bytes]:
    """Open a child's log. If that fails, as on a full disk, the child runs without one."""
    try:
        return path.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")
