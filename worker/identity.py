"""The identity of this process: a unique name, and a lock that it holds until it exits.

Containers may share a host name and have their own process ids, so host name and process id do not identify a
process; the name therefore ends in random letters. The kernel releases the lock when the process dies, so a
free lock proves the death of a process under this kernel. It proves nothing about processes under another
kernel.
"""

import fcntl
import os
import secrets
import socket
from pathlib import Path
from typing import IO

from app.settings import get_settings

TOKEN = secrets.token_hex(4)
"""Random; drawn once per process."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_held: list[IO[str]] = []


def worker_name(queues: str) -> str:
    """This process's name in rows and logs: host:pid:queues:token."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{queues}:{TOKEN}"


def hold_life() -> None:
    """Acquire this process's lock until it exits."""
    path = _life(TOKEN)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    file = partial.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(f"{_boot()}\n{_namespace()}")
    file.flush()
    partial.rename(path)
    _held.append(file)


def is_dead(worker: str) -> bool:
    """Whether a worker is known to be dead: it ran under this kernel and home, and its lock is free."""
    token = worker.rpartition(":")[2]
    if not token.isalnum() or token == TOKEN or not _boot():
        return False
    try:
        with _life(token).open() as file:
            if file.readline().strip() != _boot():
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except OSError:
        return False


def is_neighbour(worker: str) -> bool:
    """Whether a worker runs, or ran, under this kernel and home folder and in this process's pid namespace.

    Containers on the host's network share its name, so the name does not identify the container.
    """
    token = worker.rpartition(":")[2]
    try:
        return token.isalnum() and _life(token).read_text() == f"{_boot()}\n{_namespace()}"
    except OSError:
        return False


def sweep_lives() -> None:
    """Delete the locks of processes that died under this kernel."""
    for path in get_settings().workers_dir.glob("*.lock"):
        if is_dead(path.stem):
            path.unlink(missing_ok=True)


def _life(token: str) -> Path:
    return get_settings().workers_dir / f"{token}.lock"


def _boot() -> str:
    """The boot id of the kernel; empty where the system has none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """The name of this process's pid namespace; empty where the system has none."""
    try:
        return str(_NAMESPACE.readlink())
    except OSError:
        return ""
