"""The measured work: shapes, token ids of a step, and the job of a child process. Does not use torch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Tuning = Literal["lora", "full", "qlora"]
Trains = Literal["preference", "reward", "rloo"]
Precision = Literal["float32", "bfloat16"]

CONTENDERS = {
    "ours": "ours",
    "trl": "TRL defaults",
    "trl_tuned": "TRL tuned",
    "composed": "composed on TRL",
}
"""Contenders for a step, with their names in the tables."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Lengths of a step's sequences: ``prompt`` tokens per prompt, ``completion`` tokens per completion."""

    name: str
    prompt: int
    completion: int

    @property
    def label(self) -> str:
        return f"{self.name} (P {self.prompt}, C {self.completion})"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tldr", 340, 33),
        Shape("chat", 90, 121),
        Shape("long", 900, 250),
        Shape("short", 64, 16),
    )
}
"""``short`` only tests the harness and is not reported."""


WARMUP = 2
"""Untimed first steps of every contender, which allocate memory that later steps reuse."""


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement in a child process.

    Attributes:
        measure: A name in :data:`benchmarks.child.MEASURES`.
        model: Folder of the base model.
        tuning: LoRA, full fine-tuning, or LoRA on 4-bit weights.
        pairs: Pairs per step (B).
        samples: Responses per prompt (k); 0 is DPO.
        trains: DPO or HyPO (``preference``), a reward model, or RLOO.
        precision: Of the frozen base weights and the products. Full fine-tuning keeps float32 weights.
        steps: Timed steps, after :data:`WARMUP` untimed ones.
        threads: Threads of torch; 0 keeps torch's default.
        without: A part of the engine to switch off (:data:`benchmarks.without.PARTS`); empty for none.
        settings: Settings of particular measurements.
    """

    measure: str
    model: str
    tuning: Tuning = "lora"
    prompt: int = 64
    completion: int = 16
    pairs: int = 4
    samples: int = 0
    trains: Trains = "preference"
    precision: Precision = "float32"
    steps: int = 1
    threads: int = 0
    without: str = ""
    settings: dict[str, Any] | None = None

    @property
    def setting(self) -> dict[str, Any]:
        return self.settings or {}

    @property
    def method(self) -> str:
        """The method in words, for tables."""
        if self.trains == "preference":
            return f"HyPO k={self.samples}" if self.samples else "DPO"
        return "reward model" if self.trains == "reward" else f"RLOO k={self.samples}"

    @property
    def all_steps(self) -> int:
        """Number of steps, including the warm-up."""
        return WARMUP + self.steps

    @property
    def tokens(self) -> int:
        """Distinct tokens of one step: prompts, both answers (RLOO reads none) and samples."""
        stored = 0 if self.trains == "rloo" else 2
        return self.pairs * (self.prompt + (stored + self.samples) * self.completion)


@dataclass(frozen=True, slots=True)
class Ids:
    """Token ids of a pair."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def pairs_of(job: Job, *, steps: int, vocabulary: int) -> list[Ids]:
    """Random pairs for ``steps`` steps, the same for every contender, without special token ids."""
    source = random.Random(f"{job.prompt} {job.completion} {job.pairs}")
    first = min(100, vocabulary // 4)

    def ids(count: int) -> list[int]:
        return [source.randrange(first, vocabulary) for _ in range(count)]

    return [Ids(ids(job.prompt), ids(job.completion), ids(job.completion)) for _ in range(steps * job.pairs)]


def diversity(ids: Sequence[int]) -> float:
    """The score of RLOO's samples: the share of distinct tokens. It takes no time."""
    return len(set(ids)) / len(ids)


def learning_rate(tuning: Tuning) -> float:
    """The learning rate of every contender. Its value does not affect a step's time."""
    return 3e-6 if tuning == "full" else 1e-4
