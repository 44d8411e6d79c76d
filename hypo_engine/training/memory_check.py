"""Checks whether a run fits into this machine's memory, before its weights are loaded."""

import os
from pathlib import Path
from typing import Any

import torch

from hypo_engine.config import Sharding, TrainConfig
from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.data.token_pairs import TokenPairs
from hypo_engine.distributed.world import processes_here
from hypo_engine.errors import ConfigError
from hypo_engine.memory.estimate import Estimate, PairLength, estimate_memory
from hypo_engine.memory.knobs import helpful_knobs, refusal
from hypo_engine.memory.machine import available_bytes
from hypo_engine.memory.shape import ModelShape, read_shape
from hypo_engine.models.load import settled
from hypo_engine.models.untrusted import read_config

INSIST = "set insist: true in the YAML, pass --set insist=true, or tick Run anyway on the form"
"""How to start a run despite its estimate."""


def check_fits(config: TrainConfig, resolved: str, pairs: TokenPairs, *, device: torch.device) -> None:
    """Refuse a run whose estimated peak exceeds the available memory, unless the user insists.

    A run is not refused if the model's sizes or the available memory are unknown, or if the weights are
    sharded, possibly over several machines.

    Raises:
        ConfigError: states the estimate, the available memory, and the three most helpful changes.
    """
    if config.insist or config.sharding is not Sharding.NONE or (shape := model_shape(resolved)) is None:
        return
    available = available_memory(device)
    lengths, gpu, config = pair_lengths(pairs), device.type == "cuda", _settled(config, device)
    estimate = estimate_memory(shape, config, lengths, gpu=gpu, amx=is_fast())
    if available is None or estimate.total <= available:
        return
    knobs = helpful_knobs(shape, config, lengths, available=available, gpu=gpu, amx=is_fast())
    raise ConfigError(refusal(estimate, available, knobs, insist=INSIST))


def estimate_run(
    config: TrainConfig, resolved: str, pairs: TokenPairs, *, device: torch.device
) -> Estimate | None:
    """The estimate of a run on these pairs; None if the model's sizes are unknown."""
    if (shape := model_shape(resolved)) is None:
        return None
    config, gpu = _settled(config, device), device.type == "cuda"
    return estimate_memory(shape, config, pair_lengths(pairs), gpu=gpu, amx=is_fast())


def _settled(config: TrainConfig, device: torch.device) -> TrainConfig:
    """The configuration with what automatic precision stands for on this machine."""
    return config.model_copy(
        update={
            "precision": settled(
                config.precision, device, frozen=config.lora_r > 0 and not config.load_in_4bit
            )
        }
    )


def model_shape(resolved: str) -> ModelShape | None:
    """Sizes of a model given as a folder or a hub id; None if they are unknown.

    A model that cannot be loaded raises its error later, on loading.
    """
    try:
        values: dict[str, Any] = read_config(resolved).to_dict()
        return read_shape(values)
    except Exception:  # transformers raises arbitrary errors for a broken config.json
        return None


def available_memory(device: torch.device) -> int | None:
    """Bytes available to this process: those that it holds, and its share of the free memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if (free := available_bytes()) is None:
        return None
    return free // processes_here() + _held()


def pair_lengths(pairs: TokenPairs) -> list[PairLength]:
    """The lengths of tokenised pairs."""
    return [PairLength(*pairs.lengths(index)) for index in range(len(pairs))]


def _held() -> int:
    """Bytes that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
