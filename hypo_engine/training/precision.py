"""The precision of a run: what AUTO stands for on this machine, and the arithmetic that follows."""

from pathlib import Path

import torch

from hypo_engine.config import Precision, TrainConfig
from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.forward.mixed import has_float_activations
from hypo_engine.models.load import default_device, settled
from hypo_engine.models.policy import Policy
from hypo_engine.models.source import ModelSource
from hypo_engine.reporting import Reporter
from hypo_engine.training.checkpoint import stored_facts

_MIXED = "mixed"
"""bfloat16 weights with float32 activations."""


def settle_precision(
    config: TrainConfig, source: ModelSource, output_dir: Path, reporter: Reporter, *, resume: bool
) -> TrainConfig:
    """The configuration with its precision settled; a resumed run keeps the one it began with."""
    if config.precision is not Precision.AUTO:
        return config
    device = default_device()
    began = str(stored_facts(output_dir).get("arithmetic", "")).split() if resume else []
    if began:
        half = _MIXED in began or "torch.bfloat16" in began
        return _with(config, Precision.BFLOAT16 if half else Precision.FLOAT32)
    frozen = config.lora_r > 0 and not source.adapters and not config.load_in_4bit
    found = settled(config.precision, device, frozen=frozen)
    if found is Precision.BFLOAT16 and device.type == "cpu":
        reporter.log("info", "Products are computed in bfloat16, which is faster on this processor.")
    return _with(config, found)


def _with(config: TrainConfig, precision: Precision) -> TrainConfig:
    return config.model_copy(update={"precision": precision})


def arithmetic_of(config: TrainConfig, policy: Policy) -> str:
    """The device type and the dtypes, which determine the last digits."""
    dtype = next(policy.model.parameters()).dtype
    mixed = dtype == torch.bfloat16 and has_float_activations(policy.model)
    what = f"{_MIXED if mixed else dtype}{' 4bit' if config.load_in_4bit else ''}"
    return f"{default_device().type} {what} {config.precision.value} full={not policy.adapted}"


def reference_arithmetic(config: TrainConfig, policy: Policy) -> str:
    """The same for reference log-probabilities, with what else their last digits depend on.

    A layer with an adapter goes through other kernels than one without, even while the adapter is off: with
    AMX, feed-forward modules of which LoRA adapts all layers round their gates. A run's policy and reference
    agree in that; a run that adapts other layers may differ.
    """
    return f"{arithmetic_of(config, policy)} amx={is_fast()} adapts={config.lora_target_modules}"
