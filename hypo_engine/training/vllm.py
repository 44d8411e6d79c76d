"""What a run needs to sample with vLLM: sizes of its batches, its model's configuration, its weights."""

import copy
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from hypo_engine.config import TrainConfig
from hypo_engine.decoding.vllm_engine import VllmEngine
from hypo_engine.decoding.vllm_rollout import VllmRollout
from hypo_engine.distributed.world import World
from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.forward.packed import base_model
from hypo_engine.memory.rollout import cache_bytes, row_tokens, rows_at_once
from hypo_engine.memory.shape import read_shape
from hypo_engine.models.load import weights_dtype
from hypo_engine.models.merged_weights import weights_as_in_files
from hypo_engine.models.policy import Policy
from hypo_engine.training.run import Run


def refuse_several_processes(config: TrainConfig, world: World) -> None:
    """Refuse a run in several processes that samples with vLLM.

    Raises:
        ConfigError: names the field to change.
    """
    if config.samples_with_vllm and world.size > 1:
        raise ConfigError(
            f"vLLM samples in a single process so far, and this run has {world.size}; set rollout to engine."
        )


def sampling(run: Run) -> AbstractContextManager[None]:
    """A scope in which a run's batches can be computed; vLLM runs in it if it samples.

    Raises:
        Interrupted: the reporter wishes to stop.
    """
    if not run.config.samples_with_vllm or run.counters.step >= run.plan.total_steps:
        return nullcontext()
    run.between("starting vLLM")
    return run.objective.running()


def make_rollout(config: TrainConfig, policy: Policy) -> VllmRollout | None:
    """The rollout of a run whose precision is settled; None if vLLM does not sample."""
    if not config.samples_with_vllm:
        return None
    base = base_model(policy.model)
    return VllmRollout(partial(_start, config, base), partial(weights_as_in_files, base))


def _start(config: TrainConfig, base: Any) -> VllmEngine:
    device: torch.device = base.device
    dtype = weights_dtype(config.precision, device, frozen=config.lora_r > 0)
    described = copy.deepcopy(base.config)
    described.architectures = [type(base).__name__]
    try:
        shape = read_shape(described.to_dict())
    except ModelError as error:
        raise ModelError(f"{error} vLLM needs it; set rollout to engine.") from error
    return VllmEngine(
        described,
        dtype=dtype,
        device=device,
        rows=rows_at_once(config),
        row_tokens=row_tokens(config),
        cache_bytes=cache_bytes(shape, config, dtype.itemsize),
        seed=config.seed,
    )
