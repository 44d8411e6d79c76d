"""Whether a run fits into this machine's memory: asked before its weights are loaded."""

import os
from pathlib import Path
from typing import Any

import torch

from hypo_engine.config import Sharding, TrainConfig
from hypo_engine.data.token_pairs import TokenPairs
from hypo_engine.errors import ConfigError
from hypo_engine.memory.estimate import Estimate, PairLength, estimate_memory
from hypo_engine.memory.knobs import helpful_knobs, refusal
from hypo_engine.memory.machine import available_bytes
from hypo_engine.memory.shape import ModelShape, read_shape
from hypo_engine.models.untrusted import read_config

INSIST = "set insist: true in the YAML, pass --set insist=true, or tick Run anyway on the form"
"""How to start a run in spite of its estimate."""


def check_fits(config: TrainConfig, resolved: str, pairs: TokenPairs, *, device: torch.device) -> None:
    """Refuse a run whose estimated peak is more than this machine can give, unless the user insists.

    A model whose sizes nobody tells, a machine that does not tell its memory, and weights that are sharded
    over several machines perhaps, refuse nothing.

    Raises:
        ConfigError: with the estimate, what can be had, and the three knobs that would help most.
    """
    if config.insist or config.sharding is not Sharding.NONE or (shape := model_shape(resolved)) is None:
        return
    available = available_memory(device)
    lengths, gpu = pair_lengths(pairs), device.type == "cuda"
    estimate = estimate_memory(shape, config, lengths, gpu=gpu)
    if available is None or estimate.total <= available:
        return
    knobs = helpful_knobs(shape, config, lengths, available=available, gpu=gpu)
    raise ConfigError(refusal(estimate, available, knobs, insist=INSIST))


def estimate_run(
    config: TrainConfig, resolved: str, pairs: TokenPairs, *, device: torch.device
) -> Estimate | None:
    """The estimate of a run on these pairs; None for a model whose sizes nobody tells."""
    if (shape := model_shape(resolved)) is None:
        return None
    return estimate_memory(shape, config, pair_lengths(pairs), gpu=device.type == "cuda")


def model_shape(resolved: str) -> ModelShape | None:
    """Sizes of a model given as a folder or a hub id; None where they cannot be told.

    A model that cannot be loaded raises its error when it is loaded.
    """
    try:
        values: dict[str, Any] = read_config(resolved).to_dict()
        return read_shape(values)
    except Exception:  # transformers raises whatever a broken config.json makes it raise
        return None


def available_memory(device: torch.device) -> int | None:
    """Bytes that this process can have: what it holds already, and its share of what is free."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if (free := available_bytes()) is None:
        return None
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that torchrun started on this machine
    return free // beside + _held()


def pair_lengths(pairs: TokenPairs) -> list[PairLength]:
    """The lengths of tokenised pairs."""
    return [PairLength(*pairs.lengths(index)) for index in range(len(pairs))]


def _held() -> int:
    """Bytes of memory that this process has now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
