"""LoRA adapters: put a fresh one on a base model, and check a stored one before it is loaded."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.untrusted import read_lora_config

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def attach_lora(base: Any, *, rank: int, alpha: int, target_modules: str, seed: int, base_name: str) -> Any:
    """Freeze a base model and put a float32 LoRA adapter on its linear layers, never on the output head.

    Raises:
        ConfigError: ``target_modules`` names no module, or the output head.
        ModelError: the base model already carries an adapter.
    """
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers.pytorch_utils import Conv1D

    if isinstance(base, PeftModel) or getattr(base, "peft_config", None):
        raise ModelError("The base model already carries an adapter; merge it into the base model first.")
    lora = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=_target_modules(base, target_modules),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),
    )
    base.name_or_path = base_name
    try:
        with _seeded(seed, base.device), quiet_peft():
            model = get_peft_model(base, lora)
    except ValueError as error:
        raise ConfigError(
            f"lora_target_modules {target_modules!r} fits no layer of the model; use all-linear."
        ) from error
    return model.eval()


def _target_modules(base: Any, names: str) -> str | list[str]:
    if names == "all-linear":
        return names
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    tables = (base.get_output_embeddings(), base.get_input_embeddings())
    outer = {
        name.rpartition(".")[2] for name, module in base.named_modules() if any(module is t for t in tables)
    }
    clash = outer.intersection(name.rpartition(".")[2] for name in wanted)
    if clash:
        raise ConfigError(
            f"lora_target_modules may not name {min(clash)!r}: embeddings and output head stay as they are."
        )
    return wanted


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence one warning: PEFT asks transformers by a name that transformers is about to drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators inside the scope only."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def check_adapter(base: Any, folder: Path) -> Any:
    """Check that a stored LoRA adapter fits a base model, before anything is changed in it.

    Returns:
        PEFT's configuration of it.

    Raises:
        ModelError: no LoRA adapter in safetensors, or one for other layers or sizes.
    """
    try:
        config = read_lora_config(folder / ADAPTER_CONFIG)
        with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"The adapter {folder.name!r} cannot be read; it needs {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}."
        ) from error
    fits = all(_tensor_fits(base, name, shape) for name, shape in shapes.items())
    if not shapes or not fits:
        raise ModelError(
            f"The adapter {folder.name!r} does not fit this base model; use the one it was trained on."
        )
    return config


def _tensor_fits(base: Any, name: str, shape: tuple[int, ...]) -> bool:
    module_name, _, matrix = name.removesuffix(".weight").rpartition(".")
    try:
        weight = base.get_submodule(module_name.removeprefix(_PREFIX)).weight
    except AttributeError:
        return False
    # Conv1D of GPT-2 keeps [in, out] where Linear keeps [out, in]
    side = {"lora_A": shape[-1], "lora_B": shape[0]}.get(matrix)
    return side in weight.shape
