"""Failing writes on a file system that is really full and under a real file size limit."""

import errno
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from hypo_engine import disk
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.disk import writing
from hypo_engine.errors import EngineError
from hypo_engine.files import demo
from hypo_engine.reference.scores import ReferenceCache
from hypo_engine.training.loop import train
from tests.hypo_engine.conftest import Recorder

FULL, TOO_LARGE = "The disk is full", "A file is larger than the system allows"

SCRIPT = """
import resource, sys
from pathlib import Path

import torch

from hypo_engine.config import TrainConfig
from hypo_engine.errors import EngineError
from hypo_engine.data.formats import Pair
from hypo_engine.training.loop import train

torch.set_num_threads(1)
model, root, output, cache = sys.argv[1], *map(Path, sys.argv[2:5])
limit = int(sys.argv[5])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


config = TrainConfig(model_name_or_path=model, method="dpo", max_steps=1, lora_r=4)
try:
    train(config, [Pair("a", "b", "c")] * 8, output_dir=output, models_dir=root, cache_dir=cache)
    print("trained")
except EngineError as error:
    print("EngineError", error)
print("left", [path.name for path in output.glob("*")] + [path.name for path in output.glob(".*")])
"""

SMALL_DISK = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
"""Runs a command in its own mount namespace, which ends with the process."""


def train_there(
    model: Path,
    root: Path,
    *,
    output: Path,
    cache: Path,
    limit: int = 0,
    small_disk: tuple[Path, int] | None = None,
) -> str:
    """Train one step in a process with a file size limit, or with a small file system at a folder.

    Where mounting is not possible, half of the file system's size is the file size limit.
    """
    if small_disk and not _mounts(small_disk[0]):
        limit, small_disk = small_disk[1] // 2, None
    command = [sys.executable, "-c", SCRIPT, str(model), str(root), str(output), str(cache), str(limit)]
    if small_disk:
        mount = f'mount -t tmpfs -o size={small_disk[1]} tmpfs {small_disk[0]} && exec "$@"'
        command = [*SMALL_DISK, mount, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _mounts(folder: Path) -> bool:
    try:
        return not subprocess.run(
            [*SMALL_DISK, f"mount -t tmpfs -o size=4096 tmpfs {folder}"], capture_output=True, check=False
        ).returncode
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def sizes(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """Sizes of a checkpoint's adapter and optimiser in bytes."""
    root = tmp_path_factory.mktemp("sizes")
    config = TrainConfig(model_name_or_path=str(tiny("llama")), method="dpo", max_steps=1, lora_r=4)
    result = train(config, [Pair("a", "b", "c")] * 8, output_dir=root / "run", models_dir=root)
    files = ("adapter/adapter_model.safetensors", "optimizer.pt")
    adapter, optimizer = ((result.checkpoint_dir / name).stat().st_size for name in files)
    assert adapter > 8192
    assert optimizer > 1.5 * adapter
    return adapter, optimizer


@pytest.mark.parametrize("which", ["adapter", "optimiser"])
def test_a_checkpoint_on_a_full_disk(
    tiny: Callable[[str], Path], tmp_path: Path, sizes: tuple[int, int], which: str
) -> None:
    room = 4096 if which == "adapter" else sizes[0] + sizes[1] // 2
    (tmp_path / "disk").mkdir()
    output = tmp_path / "disk" / "run"
    said = train_there(
        tiny("llama"), tmp_path, output=output, cache=tmp_path / "cache", small_disk=(tmp_path / "disk", room)
    )
    assert f"EngineError {FULL if _mounts(tmp_path / 'disk') else TOO_LARGE}" in said
    assert "left []" in said
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 1


@pytest.mark.parametrize("which", ["adapter", "optimiser"])
def test_a_checkpoint_beyond_a_limit(
    tiny: Callable[[str], Path], tmp_path: Path, sizes: tuple[int, int], which: str
) -> None:
    limit = sizes[0] // 2 if which == "adapter" else (sizes[0] + sizes[1]) // 2
    output = tmp_path / "run"
    said = train_there(tiny("llama"), tmp_path, output=output, cache=tmp_path / "cache", limit=limit)
    assert f"EngineError {TOO_LARGE}" in said
    assert "left []" in said


@contextmanager
def files_up_to(limit: int) -> Iterator[None]:
    """Limit the size of files this process writes (Python ignores the signal)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_cache_that_finds_no_room_stays_in_memory(tmp_path: Path) -> None:
    heard: list[str] = []
    cache = ReferenceCache(tmp_path, "k" * 64, 300_000, warn=heard.append)
    cache.put([3], torch.tensor([1.0]), torch.tensor([2.0]))
    with files_up_to(2**20):
        cache.save()
    cache.save()
    assert len(heard) == 1
    assert "File too large" in heard[0]
    assert cache.missing([3]) == []
    assert list(tmp_path.glob("*.safetensors*")) == []


def test_a_cache_that_cannot_be_written_fails_no_run(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    recorder = Recorder()
    result = train(
        config(method="dpo"),
        pairs,
        output_dir=tmp_path / "run",
        models_dir=tmp_path,
        cache_dir=tmp_path / "file" / "below",
        reporter=recorder,
    )
    assert result.steps == 3
    (said,) = [message for message in recorder.messages if message.startswith("warning")]
    assert said.startswith("warning: Reference log-probabilities cannot be kept")


def test_a_demo_model_that_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_gguf: Path, folder: Path) -> None:
        folder.mkdir()
        save_file({"a": torch.ones(2**20)}, folder / "model.safetensors")

    monkeypatch.setattr(demo, "_find_gguf", lambda: tmp_path)
    monkeypatch.setattr(demo, "_convert", convert)
    with files_up_to(2**20), pytest.raises(EngineError, match=TOO_LARGE):
        demo.demo_folder(tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FULL),
        (OSError(errno.EFBIG, "File too large"), TOO_LARGE),
        (SafetensorError("Error while serializing: I/O error: Disk quota exceeded (os error 122)"), FULL),
    ],
)
def test_what_says_that_there_is_no_room(error: Exception, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=sentence) as raised, writing(tmp_path):
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("unexpected pos"), SafetensorError("I/O error")])
def test_what_says_nothing_is_judged_by_the_room_left(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(error)), writing(tmp_path / "not" / "there"):
        raise error
    monkeypatch.setattr(disk, "_AS_GOOD_AS_FULL", 2**80)
    with pytest.raises(EngineError, match=FULL), writing(tmp_path / "not" / "there"):
        raise error


def test_other_errors_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_AS_GOOD_AS_FULL", 2**80)
    for error in (PermissionError(errno.EACCES, "no"), torch.OutOfMemoryError(), ValueError("no")):
        with pytest.raises(type(error)), writing(tmp_path):
            raise error
