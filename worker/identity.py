"""Who this process is: a name that no other process ever has, and a lock that lasts as long as it lives.

Containers may share a host name and have process ids of their own, so host name and process id do not
identify a process. The name ends in random letters. A process of this machine has died if its lock is free,
because the kernel drops the lock with the process; a lock taken under another kernel proves nothing here.
"""

import fcntl
import os
import secrets
import socket
from pathlib import Path
from typing import IO

from app.settings import get_settings

TOKEN = secrets.token_hex(4)
"""Drawn once for each start of a process."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_held: list[IO[str]] = []


def worker_name(queues: str) -> str:
    """Who this process is, in rows and logs: host:pid:queues:token."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{queues}:{TOKEN}"


def hold_life() -> None:
    """Take this process's lock, for as long as it lives."""
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
    """Whether a worker is known to have died: it ran under this kernel and home, and its lock is free."""
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
    """Whether a worker runs, or ran, under this kernel and home and in the process namespace of this process.

    Containers on the host's network have its name, so the name does not say which container a worker is in.
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
    """What this start of the kernel is called; empty where the system does not say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """What this process's namespace of process ids is called; empty where the system has none."""
    try:
        return str(_NAMESPACE.readlink())
    except OSError:
        return ""
