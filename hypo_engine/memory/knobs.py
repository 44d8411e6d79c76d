"""Changes that make a run fit, found by estimating each one. No torch here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypo_engine.config import Precision, RolloutEngine, Sharding, TrainConfig
from hypo_engine.memory.estimate import Estimate, PairLength, estimate_memory, format_bytes
from hypo_engine.memory.shape import ModelShape

_SHORTEST = 32
"""Shortest limit in tokens that is proposed for prompts or answers."""

_SMALL_RANK = 16


@dataclass(frozen=True, slots=True)
class Knob:
    """A change of the configuration and the resulting estimate."""

    changes: Mapping[str, Any]
    estimate: Estimate

    @property
    def words(self) -> str:
        """`per_device_train_batch_size 2 with gradient_accumulation_steps 8`."""
        return " with ".join(f"{name} {_plain(value)}" for name, value in self.changes.items())

    def __str__(self) -> str:
        return f"{self.words}: {format_bytes(self.estimate.total)}"


def helpful_knobs(
    shape: ModelShape,
    config: TrainConfig,
    lengths: Sequence[PairLength] | None = None,
    *,
    available: int,
    gpu: bool = False,
    amx: bool = False,
    most: int = 3,
) -> list[Knob]:
    """The most helpful knobs: those that make the run fit first, then by resulting memory.

    Each knob is set to its mildest value that fits, or to its strongest if none does. ``gpu`` and ``amx``
    are those of :func:`estimate_memory`.
    """
    now = estimate_memory(shape, config, lengths, gpu=gpu, amx=amx).total
    found: list[Knob] = []
    for settings in _candidates(config, gpu=gpu):
        best: Knob | None = None
        for changes in settings:
            changed = config.model_copy(update=changes)
            best = Knob(changes, estimate_memory(shape, changed, lengths, gpu=gpu, amx=amx))
            if best.estimate.total <= available:
                break
        if best is not None and best.estimate.total < 0.99 * now:
            found.append(best)
    found.sort(key=lambda knob: (knob.estimate.total > available, knob.estimate.total))
    return found[:most]


def refusal(estimate: Estimate, available: int, knobs: Sequence[Knob], *, insist: str) -> str:
    """The error message for a run that cannot fit.

    Args:
        insist: How to start it anyway, as in ``set insist: true``.
    """
    said = [
        f"This run needs about {format_bytes(estimate.total)} of memory and "
        f"{format_bytes(available)} can be had."
    ]
    if knobs:
        said.append(f"What would help most: {'; '.join(map(str, knobs))}.")
    else:
        said.append("No setting lowers that: choose a smaller model.")
    return " ".join([*said, f"To start it anyway, {insist}."])


def _candidates(config: TrainConfig, *, gpu: bool) -> Iterator[list[dict[str, Any]]]:
    """The settings of each knob, mildest first."""
    batch, accumulation = config.per_device_train_batch_size, config.gradient_accumulation_steps
    yield [
        {"per_device_train_batch_size": smaller, "gradient_accumulation_steps": accumulation * times}
        for smaller, times in _halves(batch)
        if accumulation * times <= 4096
    ]
    if not config.gradient_checkpointing:
        yield [{"gradient_checkpointing": True}]
    if config.samples_online:
        least = 2 if config.method.compares_samples else 1
        yield [{"num_generations": k} for k in _below(config.num_generations, least=least)]
    yield [{"max_completion_length": n} for n in _below(config.max_completion_length, least=_SHORTEST)]
    yield [{"max_prompt_length": n} for n in _below(config.max_prompt_length, least=_SHORTEST)]
    if config.precision is Precision.FLOAT32 or (config.precision is Precision.AUTO and not gpu):
        yield [{"precision": Precision.BFLOAT16}]
    if gpu and config.lora_r and not config.load_in_4bit and config.sharding is Sharding.NONE:
        yield [{"load_in_4bit": True}]
    if config.lora_r == 0:
        yield [{"lora_r": _SMALL_RANK}]
    else:
        yield [{"lora_r": r} for r in _below(config.lora_r, least=1)]
    if config.samples_with_vllm:
        yield [{"rollout": RolloutEngine.ENGINE}]
    if config.eval_prompts:
        yield [{"eval_prompts": n} for n in [*_below(config.eval_prompts, least=1), 0]]


def _halves(batch: int) -> Iterator[tuple[int, int]]:
    """Smaller batches with the same pairs per step: (size, factor of gradient accumulation)."""
    for times in range(2, batch + 1):
        if batch % times == 0:
            yield batch // times, times


def _below(value: int, *, least: int) -> list[int]:
    found = []
    while value // 2 >= least:
        value //= 2
        found.append(value)
    return found


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
