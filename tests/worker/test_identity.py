"""Who a worker process is, and when it is known to be dead."""

import socket
import subprocess
import sys
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


def start() -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


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
    """Its process id may belong to another namespace, where the same host name has other processes."""
    assert not identity.is_dead(name)


def test_a_lock_of_another_kernel_says_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    process, name = start()
    end(process)
    other = Path(settings.root / "boot_id")
    other.write_text("another machine")
    monkeypatch.setattr(identity, "_BOOT", other)
    assert not identity.is_dead(name)
