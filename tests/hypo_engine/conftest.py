"""Fixtures of the engine's tests: tiny models on disk, pairs, and a recording reporter."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from hypo_engine.config import TrainConfig
from hypo_engine.cpu import bf16_gemm, compiler
from hypo_engine.cpu.compiler import compiled
from hypo_engine.data.formats import Pair
from hypo_engine.models import load
from hypo_engine.reporting import LogLevel, Sample, Wish
from hypo_engine.training.loop import train
from tests.tiny_model import write_tiny_model


@pytest.fixture(params=["native", "x86-64", "x86-64-v3"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The C code, compiled for this processor's vector extensions and for older ones."""
    if request.param != "native" and platform.machine() != "x86_64":
        pytest.skip("names a processor of another family")
    monkeypatch.setattr(
        compiler, "_FLAGS", [flag.replace("native", request.param) for flag in compiler._FLAGS]
    )
    _forget_compiled()
    yield
    _forget_compiled()


def _forget_compiled() -> None:
    compiled.cache_clear()
    bf16_gemm._library.cache_clear()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch, and our C code, use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: tiny models run fastest that way, especially on a busy machine."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of an architecture, written once per session."""
    root = tmp_path_factory.mktemp("models")

    def folder(architecture: str = "llama") -> Path:
        path = root / architecture
        return path if path.exists() else write_tiny_model(path, architecture=architecture)

    return folder


@pytest.fixture(scope="session")
def pairs() -> list[Pair]:
    """Ten pairs of unequal length, both conversations and plain prompts."""
    return [
        Pair(
            prompt=f"Question {i}: where is Paris?" if i % 3 == 0 else [_turn(i)],
            chosen="Paris." if i % 2 else f"The capital of France is Paris {i}.",
            rejected="A long answer wanders and repeats itself." if i % 2 else "No.",
        )
        for i in range(10)
    ]


def _turn(i: int) -> dict[str, str]:
    return {"role": "user", "content": "Write a short answer. " * (i % 4) + f"Number {i}?"}


@pytest.fixture
def precision(request: pytest.FixtureRequest) -> str:
    """That of ``--precision``, for tests that need no more digits than bfloat16 has."""
    exact = request.node.get_closest_marker("exact") is not None
    return "float32" if exact else str(request.config.getoption("--precision"))


@pytest.fixture
def decoding_gap(precision: str) -> float:
    """Most nats between a token's log-probability in decoding and in training, on average.

    In bfloat16 both are rounded, each in its way; measured: 0.0079 at most.
    """
    return 0.02 if precision == "bfloat16" else 1e-5


@pytest.fixture(autouse=True)
def _automatic_precision(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Automatic precision is that of ``--precision`` on every machine."""
    monkeypatch.setattr(load, "is_fast", lambda: precision == "bfloat16")


@pytest.fixture
def config(tiny: Callable[[str], Path], precision: str) -> Callable[..., TrainConfig]:
    """A small configuration on the tiny Llama; keyword arguments override fields."""

    def make(**changes: Any) -> TrainConfig:
        fields: dict[str, Any] = {
            "model_name_or_path": str(tiny("llama")),
            "precision": precision,
            "max_steps": 3,
            "lora_r": 4,
            "learning_rate": 1e-2,
            "max_prompt_length": 100,
            "max_completion_length": 20,
            "eval_prompts": 2,
            "probe_prompts": 1,
            "warmup_ratio": 0.0,
            "kl_coef": 0.01,
        }
        return TrainConfig(**(fields | changes))

    return make


class Recorder:
    """A reporter that records all events and returns the wish of ``decide``."""

    def __init__(self, decide: Callable[["Recorder"], Wish] = lambda _: Wish.CONTINUE) -> None:
        self.phases: list[tuple[int, int, str]] = []
        self.values: dict[int, dict[str, float]] = {}
        self.rows: list[Sample] = []
        self.checkpoints: list[tuple[int, str]] = []
        self.messages: list[str] = []
        self._decide = decide

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        self.phases.append((step, total_steps, phase))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.values.setdefault(step, {}).update(values)

    def samples(self, rows: Sequence[Sample]) -> None:
        self.rows += rows

    def checkpoint(self, step: int, path: str) -> None:
        self.checkpoints.append((step, path))

    def log(self, level: LogLevel, message: str) -> None:
        self.messages.append(f"{level}: {message}")

    def wish(self) -> Wish:
        return self._decide(self)


TIMES = {"step_time", "time/sampling", "time/training", "seconds"}


def computed(recorder: Recorder) -> dict[int, dict[str, float]]:
    """All metrics except the times."""
    return {
        step: {name: value for name, value in values.items() if name not in TIMES}
        for step, values in recorder.values.items()
    }


Run = Callable[..., tuple[Recorder, Path]]


@pytest.fixture
def run(pairs: list[Pair], tmp_path: Path) -> Run:
    """Train in a folder; returns the record and the last checkpoint."""

    def start(
        config: TrainConfig, name: str = "run", recorder: Recorder | None = None
    ) -> tuple[Recorder, Path]:
        recorder = recorder or Recorder()
        result = train(
            config,
            pairs,
            output_dir=tmp_path / name,
            models_dir=tmp_path,
            reporter=recorder,
            eval_pairs=pairs[:3],
            eval_prompts=[pair.prompt for pair in pairs[:3]],
            cache_dir=tmp_path / "cache",
        )
        return recorder, result.checkpoint_dir

    return start
