"""Identity of worker processes, and detection of dead ones."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.settings import Settings
from worker import identity

HOLD = """
import sys, time
from worker.identity import hold_life, worker_name
hold_life()
print(worker_name("train"), flush=True)
time.sleep(60)
"""


def start(*within: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([*within, sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_process_is_dead_when_the_kernel_says_so(settings: Settings) -> None:
    process, name = start()
    try:
        assert name.startswith(f"{socket.gethostname()}:{process.pid}:train:")
        assert not identity.is_dead(name)
    finally:
        end(process)
    assert identity.is_dead(name)
    identity.sweep_lives()
    assert list(settings.workers_dir.iterdir()) == []
    assert not identity.is_dead(name), "what is not known is not taken for dead"


def test_two_starts_have_two_names(settings: Settings) -> None:
    started = [start(), start()]
    for process, _ in started:
        end(process)
    (_, first), (_, second) = started
    assert first.rpartition(":")[2] != second.rpartition(":")[2]


@pytest.mark.parametrize("name", ["host:1:train", "host:1:train:ffffffff", "host:1:train:../../etc", ""])
def test_a_worker_of_another_home_or_version_is_not_judged(settings: Settings, name: str) -> None:
    """Its process id may belong to another namespace with the same host name."""
    assert not identity.is_dead(name)


def test_a_lock_of_another_kernel_says_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    process, name = start()
    end(process)
    other = Path(settings.root / "boot_id")
    other.write_text("another machine")
    monkeypatch.setattr(identity, "_BOOT", other)
    assert not identity.is_dead(name)


def renamed(name: str) -> str:
    """The name of the same process in a namespace where its id is 1."""
    host, _, queues, token = name.split(":")
    return f"{host}:1:{queues}:{token}"


def test_equal_hosts_and_process_ids_are_told_apart(settings: Settings) -> None:
    (first, one), (second, other) = start(), start()
    one, other = renamed(one), renamed(other)
    assert one.rpartition(":")[0] == other.rpartition(":")[0]
    end(first)
    try:
        assert identity.is_dead(one)
        assert not identity.is_dead(other)
    finally:
        end(second)


OWN_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*OWN_NAMESPACE, "true"], capture_output=True).returncode == 0


def test_two_containers_on_one_host(settings: Settings) -> None:
    """Two processes have id 1 at the same time, each in its own namespace."""
    if not can_unshare():
        pytest.skip("this account may not make namespaces of process ids")
    (first, one), (second, other) = start(*OWN_NAMESPACE), start(*OWN_NAMESPACE)
    (beside, neighbour) = start()
    try:
        assert one.startswith(f"{socket.gethostname()}:1:train:")
        assert other.startswith(f"{socket.gethostname()}:1:train:")
        assert not identity.is_dead(one)
        assert [identity.is_neighbour(name) for name in (one, other, neighbour)] == [False, False, True]
        end(first)
        deadline = time.monotonic() + 10  # the namespace ends shortly after its first process
        while not identity.is_dead(one):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not identity.is_dead(other)
    finally:
        for process in (first, second, beside):
            end(process)
