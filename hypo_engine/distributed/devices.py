"""Starts the other processes of a run on this machine, one per device, and joins them into a process group.

The process that calls :func:`other_processes` is the main one, rank 0. The others run a command that calls
:func:`member`. They find each other through a file, and talk on loopback.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import torch
from torch._C._distributed_c10d import FileStore  # public as torch.distributed.FileStore, without a type

from hypo_engine.distributed.world import join_group
from hypo_engine.errors import ConfigError, EngineError

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""Environment of processes that are all on this machine."""

_GROUP = "HYPO_PROCESS_GROUP"
_POLL_SECONDS, _END_SECONDS = 0.1, 30.0
_LINES = 5


def check_devices(devices: int) -> None:
    """Check that this machine has so many GPUs, or cores if it has no GPU.

    Raises:
        ConfigError: it has fewer.
    """
    if not torch.cuda.is_available():
        if devices > (most := _cores()):
            raise ConfigError(
                f"devices is {devices}, but the number of cores here is {most}; "
                f"set devices to at most {most}."
            )
    elif devices > (most := torch.cuda.device_count()):
        raise ConfigError(
            f"devices is {devices}, but the number of GPUs here is {most}; set devices to at most {most}."
        )


def threads_of(devices: int) -> int:
    """Threads of each process, so that all together have one per core."""
    return max(1, _cores() // devices)


@contextmanager
def other_processes(
    command: Sequence[str], *, devices: int, folder: Path, watch: Callable[[], None]
) -> Iterator[None]:
    """A scope in which this process is the main one of ``devices`` processes; the others run ``command``.

    Their standard input closes when this process ends.

    Args:
        folder: A new folder, for the group's file and what the other processes print.
        watch: Called while they start; what it raises ends them.

    Raises:
        ConfigError: this machine has fewer devices.
        EngineError: a process ended before the group was complete; the message has its last lines.
    """
    check_devices(devices)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as scope:
        scope.enter_context(_environment(LOOPBACK))
        scope.enter_context(_threads(threads_of(devices)))
        children = [scope.enter_context(_child(command, rank, devices, folder)) for rank in range(1, devices)]
        store = FileStore(str(folder / "group"), devices)
        while not store.check([f"ready/{rank}" for rank in range(1, devices)]):
            watch()
            for rank, child in enumerate(children, start=1):
                if child.poll() is not None:
                    raise EngineError(_why_it_ended(rank, folder))
            time.sleep(_POLL_SECONDS)
        scope.enter_context(join_group(store, rank=0, size=devices))
        yield


def torchrun(arguments: Sequence[str], *, devices: int) -> NoReturn:
    """Replace this process by torchrun, which starts ``python -m hypo_engine`` once per device.

    Raises:
        ConfigError: this machine has fewer devices.
    """
    check_devices(devices)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(devices)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"),
        *("-m", "hypo_engine", *arguments),
    ]
    threads = {"OMP_NUM_THREADS": str(threads_of(devices))}
    os.execve(sys.executable, command, os.environ | LOOPBACK | threads)


@contextmanager
def member() -> Iterator[None]:
    """A scope in which this process, started by :func:`other_processes`, belongs to its group."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    torch.set_num_threads(threads_of(size))
    store = FileStore(os.environ[_GROUP], size)
    store.set(f"ready/{rank}", "")
    with join_group(store, rank=rank, size=size):
        yield


@contextmanager
def _child(command: Sequence[str], rank: int, size: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of this rank, which is given some seconds to end with the scope."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    with _output(folder, rank).open("wb") as output:
        child = subprocess.Popen(
            command,
            env=os.environ
            | {name: str(value) for name, value in ranks.items()}
            | {_GROUP: str(folder / "group")},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    with child:
        try:
            yield child
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            child.kill()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _output(folder: Path, rank: int) -> Path:
    return folder / f"process-{rank}.log"


def _why_it_ended(rank: int, folder: Path) -> str:
    printed = _output(folder, rank).read_text(encoding="utf-8", errors="replace").strip()
    last = "\n".join(printed.splitlines()[-_LINES:])
    return f"Process {rank} of the run ended before the first step. It printed last: {last or 'nothing'}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
