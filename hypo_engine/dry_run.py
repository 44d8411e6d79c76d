"""A dry run: a few real steps on the longest pairs that measure memory and time and keep nothing.

The steps are those of :func:`.training.loop.train` in a temporary folder, without evaluations.
"""

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.data.token_pairs import TokenPairs
from hypo_engine.data.tokenize import tokenize_pairs, uses_row
from hypo_engine.errors import DataError, Interrupted
from hypo_engine.memory.estimate import Estimate, format_bytes
from hypo_engine.models.load import default_device, load_tokenizer
from hypo_engine.models.source import resolve_source
from hypo_engine.reporting import LogLevel, SilentReporter, Wish
from hypo_engine.training.loop import train
from hypo_engine.training.memory_check import available_memory, check_fits, estimate_run
from hypo_engine.training.plan import make_plan
from hypo_engine.training.prepare import make_tokenization

STEPS = 3
"""Steps that are run; the first one is slower and is not timed."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """The measurements of a dry run.

    Attributes:
        device: `cpu` or `cuda`.
        estimate: Estimated peak of the whole run, before loading; None if the model's sizes are unknown.
        available: Bytes that were available before loading; None if unknown.
        measured_peak: Peak bytes of the steps: of the process on a CPU, of its tensors on a GPU.
        seconds_a_step: Seconds of a step on the longest pairs.
        steps: Optimiser steps of the whole run.
        seconds_total: Forecast for the whole run at its pairs' lengths, without evaluations and
            checkpoints.
    """

    device: str
    estimate: Estimate | None
    available: int | None
    measured_peak: int
    seconds_a_step: float
    steps: int
    seconds_total: float

    def as_json(self) -> dict[str, Any]:
        """The measurements as JSON values, in bytes and seconds."""
        values = asdict(self)
        if self.estimate is not None:
            values["estimate"] = {**self.estimate.parts(), "total": self.estimate.total}
        return values

    def lines(self) -> list[str]:
        """The measurements as readable lines."""
        lines = []
        if self.estimate is not None:
            lines = [f"{part.replace('_', ' '):<14}{format_bytes(n):>10}" for part, n in _rows(self.estimate)]
        if self.available is not None:
            lines.append(f"{'available':<14}{format_bytes(self.available):>10}")
        lines.append(f"{'measured peak':<14}{format_bytes(self.measured_peak):>10}  (on the {self.device})")
        lines.append(f"{'a step':<14}{format_seconds(self.seconds_a_step):>10}  (on the longest pairs)")
        whole = f"{self.steps:,} steps at the pairs' lengths, without evaluations"
        return [*lines, f"{'the run':<14}{format_seconds(self.seconds_total):>10}  ({whole})"]


def dry_run(
    config: TrainConfig, pairs: Sequence[Pair], *, models_dir: Path, say: Callable[[str], None]
) -> DryRun:
    """Run a few steps on the longest pairs and measure them.

    Args:
        say: Receives phases and log messages.

    Raises:
        EngineError: as :func:`hypo_engine.training.loop.train`; a run that cannot fit is refused too.
    """
    resolved = resolve_source(config.model_name_or_path, models_dir).place
    tokens = _tokens(config, pairs, resolved)
    device = default_device()
    check_fits(config, resolved, tokens, device=device)
    available = available_memory(device)
    a_step = config.pairs_per_device * int(os.environ.get("WORLD_SIZE", "1"))  # started by torchrun
    work = [sum(tokens.lengths(i)) for i in range(len(tokens))]
    longest = sorted(range(len(tokens)), key=lambda i: (-work[i], i))[:a_step]
    watch = _Watch(say)
    _run(config, [pairs[tokens[i].source_index] for i in longest], models_dir, watch)
    plan = make_plan(
        len(tokens),
        pairs_per_step=a_step,
        max_steps=config.max_steps,
        epochs=config.num_train_epochs,
        seed=config.seed,
    )
    seconds = sum(watch.steps[1:]) / len(watch.steps[1:])
    # mean work of a pair, relative to the longest pairs
    usual = _mean_work(config, work) / _mean_work(config, [work[i] for i in longest])
    full_steps = min(plan.total_steps, plan.total_steps * len(tokens) / (plan.steps_per_epoch * len(longest)))
    once = min(len(tokens), plan.total_steps * a_step) / len(longest) * watch.reference_seconds
    return DryRun(
        device=device.type,
        estimate=estimate_run(config, resolved, tokens, device=device),
        available=available,
        measured_peak=_peak(device),
        seconds_a_step=seconds,
        steps=plan.total_steps,
        seconds_total=usual * (full_steps * seconds + once),
    )


def print_dry_run(
    config: TrainConfig, pairs: Sequence[Pair], *, models_dir: Path, as_json: bool, say: Callable[[str], None]
) -> None:
    """Do a dry run and print its measurements on stdout, as readable lines or as one JSON value."""
    found = dry_run(config, pairs, models_dir=models_dir, say=say)
    if os.environ.get("RANK", "0") == "0":  # the only process, or the main one under torchrun
        print(json.dumps(found.as_json(), indent=2) if as_json else "\n".join(found.lines()))


def format_seconds(seconds: float) -> str:
    """`0.42 s`, `12 s`, `3 min`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class _Watch(SilentReporter):
    """Times the steps and the reference scoring, and stops the run after enough steps."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.steps: list[float] = []
        self.reference_seconds = 0.0
        self._say, self._scoring_since, self._last = say, 0.0, ""

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        now, scoring = perf_counter(), phase.startswith("reference")
        if self._scoring_since and not scoring:
            self.reference_seconds += now - self._scoring_since
        self._scoring_since = (self._scoring_since or now) if scoring else 0.0
        if (said := phase.partition(" (")[0]) != self._last and phase != "evaluating":
            self._say(f"dry run: {said}")
        self._last = said

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if "step_time" in values:
            self.steps.append(values["step_time"])

    def log(self, level: LogLevel, message: str) -> None:
        if "training data" not in message:  # it concerns the whole dataset and is reported by the run itself
            self._say(f"{level}: {message}")

    def wish(self) -> Wish:
        return Wish.ABANDON if len(self.steps) >= STEPS else Wish.CONTINUE


def _run(config: TrainConfig, pairs: Sequence[Pair], models_dir: Path, watch: _Watch) -> None:
    short = config.model_copy(
        update={
            "max_steps": STEPS + 1,
            "logging_steps": 1,
            "eval_pairs": 0,
            "eval_prompts": 0,
            "probe_prompts": 0,
            "save_steps": 1_000_000,  # unreachable: the run is abandoned before, which writes nothing
            "insist": True,  # already checked with the lengths of all pairs
            "critic_warmup": 0,  # steps that train the value head alone take less
        }
    )
    with tempfile.TemporaryDirectory(prefix="hypo-dry-run-") as folder:
        try:
            train(short, pairs, output_dir=Path(folder), reporter=watch, models_dir=models_dir, resume=False)
        except Interrupted as interrupted:
            if interrupted.wish is not Wish.ABANDON:
                raise


def _tokens(config: TrainConfig, pairs: Sequence[Pair], resolved: str) -> TokenPairs:
    tokens, report = tokenize_pairs(
        pairs,
        make_tokenization(config, load_tokenizer(resolved), pairs),
        max_prompt_length=config.max_prompt_length,
        max_completion_length=config.max_completion_length,
        uses=partial(uses_row, config.method),
    )
    if not tokens:
        raise DataError(
            report.nothing_left(config.max_completion_length)
            if pairs
            else "There are no pairs to try: the file has none; give at least one."
        )
    return tokens


def _mean_work(config: TrainConfig, work: Sequence[int]) -> float:
    """Mean tokens per pair, samples included; ``work`` has each pair's own tokens."""
    own = config.num_generations * config.max_completion_length if config.samples_online else 0
    return sum(work) / len(work) + own


def _peak(device: torch.device) -> int:
    """Peak bytes so far: of tensors on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _rows(estimate: Estimate) -> list[tuple[str, int]]:
    return [*estimate.parts().items(), ("estimate", estimate.total)]
