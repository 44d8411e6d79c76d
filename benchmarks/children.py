"""Run a job in a fresh child process and return its result, or that it ran out of memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job

OUT_OF_MEMORY = {"out_of_memory": True}
_KILLED = -9
_PAUSE = 0.1
_SPARE = 0.04
"""Free share of memory below which a child is killed, before the kernel kills other processes."""


class ChildFailed(RuntimeError):
    """A child ended without a result. The message contains the end of its output."""


def run_job(job: Job) -> dict[str, Any]:
    """Run a job in its own child process and return its result.

    Returns:
        The measurement's values, or :data:`OUT_OF_MEMORY`.

    Raises:
        ChildFailed: the child failed for a reason other than memory.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
        child = start_child(folder, _environment(job, folder))
        ended_for_memory = _watch(child)
        result = folder / "result.json"
        if ended_for_memory or child.returncode == _KILLED:
            return dict(OUT_OF_MEMORY)
        if child.returncode or not result.exists():
            tail = (folder / "log").read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise ChildFailed(f"The child that measured {job.measure!r} failed:\n{tail}")
        values: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return values


def start_child(folder: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a fresh process for the job in ``folder``; it writes its output to ``folder/log``."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _environment(job: Job, folder: Path) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": str(job.threads)} if job.threads else {}
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **threads, **quiet, "HF_DATASETS_CACHE": str(folder / "datasets")}


def _watch(child: "subprocess.Popen[bytes]") -> bool:
    """Wait for a child. Returns True if it was killed because memory was nearly exhausted."""
    spare = _SPARE * total_memory()
    try:
        while child.poll() is None:
            if available_memory() < spare:
                child.kill()
                child.wait()
                return True
            time.sleep(_PAUSE)
    finally:
        if child.poll() is None:  # interrupted, as by Ctrl-C
            child.kill()
            child.wait()
    return False


def total_memory() -> float:
    """Total memory of the machine or container, in bytes."""
    limit = _number("/sys/fs/cgroup/memory.max")
    return min(_meminfo("MemTotal"), limit or float("inf"))


def available_memory() -> float:
    """Available memory in bytes; infinite if the system does not report it."""
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    in_container = limit - used if limit and used else float("inf")
    return min(_meminfo("MemAvailable"), in_container)


def _meminfo(name: str) -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    values = {line.partition(":")[0]: line.split()[1] for line in lines}
    return float(values[name]) * 1024


def _number(path: str) -> float | None:
    try:
        return float(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # the file is missing or contains `max`
        return None
