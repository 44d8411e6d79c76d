"""The cache of reference scores with several processes: nothing lost, torn, or deleted while in use."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from hypo_engine.errors import ConfigError
from hypo_engine.files.reference_cache import (
    DEFAULT_MAX_BYTES,
    MAX_BYTES_VARIABLE,
    cache_limit,
    list_files,
    locked,
    remove_files,
    tidy,
)
from hypo_engine.reference.scores import ReferenceCache

ROOT = Path(__file__).resolve().parents[3]
SIZE = 120


def key(letter: str) -> str:
    return letter * 64


def made(folder: Path, letter: str, *, pairs: int = 1000, days_ago: float = 0) -> Path:
    """A file of the cache that no process has open."""
    cache = ReferenceCache(folder, key(letter), pairs, model=f"model {letter}")
    cache.put([0], torch.tensor([1.0]), torch.tensor([2.0]))
    cache.save()
    path = folder / f"reference-{key(letter)[:40]}.safetensors"
    then = (datetime.now(UTC) - timedelta(days=days_ago)).timestamp()
    os.utime(path, (then, then))
    return path


def start(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def process(script: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python process that prints a line when it is ready; it is killed at the end if still running."""
    child = start(script)
    try:
        assert child.stdout is not None
        assert child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.communicate()


def holder(folder: Path, letter: str) -> str:
    """A process that keeps a file of the cache open."""
    return f"""
        import sys
        from pathlib import Path
        from hypo_engine.reference.scores import ReferenceCache
        cache = ReferenceCache(Path({str(folder)!r}), {key(letter)!r}, 1000)
        print("ready", flush=True)
        sys.stdin.readline()
        """


def test_processes_that_fill_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each writes its own entries in many saves; a concurrent reader never sees a torn file."""
    processes = 4
    script = """
        import sys
        from pathlib import Path
        import torch
        from hypo_engine.reference.scores import ReferenceCache
        cache = ReferenceCache(Path({folder!r}), {key!r}, {size})
        print("ready", flush=True)
        sys.stdin.readline()
        for place in range({first}, {size}, {step}):
            cache.put([place], torch.tensor([float(place)]), torch.tensor([-float(place)]))
            cache.save()
    """
    values = {"folder": str(tmp_path), "key": key("a"), "size": SIZE, "step": processes}
    children = [start(script.format(first=first, **values)) for first in range(processes)]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        while any(child.poll() is None for child in children):
            assert all(file.pairs == SIZE for file in list_files(tmp_path))
        assert [child.returncode for child in children] == [0] * processes
    finally:
        for child in children:
            child.kill()
            child.communicate()
    found = ReferenceCache(tmp_path, key("a"), SIZE)
    expected = torch.arange(SIZE, dtype=torch.float32)
    assert torch.equal(found.values, torch.stack([expected, -expected], dim=1))


def test_the_longest_unused_go_first_beyond_the_bound(tmp_path: Path) -> None:
    paths = [made(tmp_path, letter, days_ago=days) for letter, days in [("a", 1), ("b", 3), ("c", 2)]]
    size = paths[0].stat().st_size
    with locked(tmp_path):
        tidy(tmp_path, 3 * size)
    assert all(path.exists() for path in paths)
    with locked(tmp_path):
        tidy(tmp_path, 2 * size)
    assert [path.exists() for path in paths] == [True, False, True]


def test_a_save_keeps_the_folder_within_its_bound(tmp_path: Path) -> None:
    old = made(tmp_path, "a", days_ago=1)
    new = ReferenceCache(tmp_path, key("b"), 1000, max_bytes=old.stat().st_size)
    new.put([0], torch.tensor([1.0]), torch.tensor([2.0]))
    new.save()
    assert not old.exists()
    assert len(list_files(tmp_path)) == 1


def test_opening_a_file_is_using_it(tmp_path: Path) -> None:
    path, other = made(tmp_path, "a", days_ago=3), made(tmp_path, "b", days_ago=2)
    ReferenceCache(tmp_path, key("a"), 1000)
    with locked(tmp_path):
        tidy(tmp_path, path.stat().st_size)
    assert (path.exists(), other.exists()) == (True, False)


def test_a_file_that_another_process_has_open_stays(tmp_path: Path) -> None:
    path = made(tmp_path, "a", days_ago=3)
    with process(holder(tmp_path, "a")):
        with locked(tmp_path):
            tidy(tmp_path, 0)
        assert path.exists()
        assert list_files(tmp_path)[0].in_use
        assert remove_files(tmp_path) == ([], 1)
        assert path.exists()
    assert not list_files(tmp_path)[0].in_use
    with locked(tmp_path):
        tidy(tmp_path, 0)
    assert not path.exists()


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    made(tmp_path, "a")
    torn = tmp_path / ".reference-x.safetensors-0123"
    torn.write_bytes(b"half")
    with process(holder(tmp_path, "a")) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert list(tmp_path.glob("*.use"))
    with locked(tmp_path):
        tidy(tmp_path, DEFAULT_MAX_BYTES)
    assert not list(tmp_path.glob("*.use"))
    assert not torn.exists()
    assert len(list_files(tmp_path)) == 1


def test_a_cache_that_is_given_up_lets_go(tmp_path: Path) -> None:
    made(tmp_path, "a")
    cache = ReferenceCache(tmp_path, key("a"), 1000)
    assert list_files(tmp_path)[0].in_use
    del cache
    assert not list_files(tmp_path)[0].in_use
    assert not list(tmp_path.glob("*.use"))


def test_files_say_what_they_belong_to(tmp_path: Path) -> None:
    made(tmp_path, "a", days_ago=2)
    made(tmp_path, "b")
    (tmp_path / "reference-damaged.safetensors").write_bytes(b"not safetensors")
    os.utime(tmp_path / "reference-damaged.safetensors", (1, 1))
    first, second, damaged = list_files(tmp_path)
    assert (first.model, first.pairs, first.filled, first.in_use) == ("model b", 1000, 1, False)
    assert (second.name, second.bytes) == ("a" * 12, second.path.stat().st_size)
    assert (datetime.now(UTC) - second.last_used).days == 2
    assert (damaged.model, damaged.pairs, damaged.filled) == ("", 0, None)
    assert list_files(tmp_path / "nowhere") == []


def test_only_what_was_not_used_for_a_while_is_removed(tmp_path: Path) -> None:
    old, new = made(tmp_path, "a", days_ago=8), made(tmp_path, "b", days_ago=6)
    gone, kept = remove_files(tmp_path, unused_since=datetime.now(UTC) - timedelta(days=7))
    assert ([file.path for file in gone], kept) == ([old], 0)
    assert (old.exists(), new.exists()) == (False, True)
    assert remove_files(tmp_path / "nowhere") == ([], 0)


def test_the_limit_comes_from_the_environment() -> None:
    assert cache_limit({}) == DEFAULT_MAX_BYTES == 10 * 1024**3
    assert cache_limit({MAX_BYTES_VARIABLE: "1000"}) == 1000
    with pytest.raises(ConfigError, match=r"HYPO_REFERENCE_CACHE_MAX_BYTES is set to '10 GB'; give a number"):
        cache_limit({MAX_BYTES_VARIABLE: "10 GB"})
