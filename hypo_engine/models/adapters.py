"""LoRA adapters: attach a fresh one to a base model, check a stored one before loading, and merge it."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.files.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, was_on_four_bit
from hypo_engine.files.weights import sha256
from hypo_engine.forward.four_bit import is_four_bit, require_bitsandbytes, through_four_bit
from hypo_engine.forward.trial import MODEL_ERRORS, plain_logits, try_tokens
from hypo_engine.models.linear_layers import four_bit_layers, linear_layers
from hypo_engine.models.untrusted import read_lora_config

_PREFIX = "base_model.model."

_Part = tuple[Tensor, Tensor, float]
"""A, B and the scale of an adapter in one layer."""


def attach_lora(base: Any, *, rank: int, alpha: int, target_modules: str, seed: int, base_name: str) -> Any:
    """Freeze a base model and attach a float32 LoRA adapter to its linear layers except the output head.

    Raises:
        ConfigError: ``target_modules`` names no module, or the output head.
        ModelError: the base model already has an adapter.
    """
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers.pytorch_utils import Conv1D

    if isinstance(base, PeftModel) or getattr(base, "peft_config", None):
        raise ModelError("The base model already carries an adapter; merge it into the base model first.")
    fitting = linear_layers(base)
    if not fitting:
        raise ConfigError(
            f"The model ({base.config.model_type}) has no linear layer that LoRA can adapt; set lora_r to 0 "
            "to train every weight."
        )
    lora = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=fitting if target_modules == "all-linear" else _named(base, target_modules, fitting),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),
    )
    base.name_or_path = base_name
    try:
        with _seeded(seed, base.device), quiet_peft():
            model = get_peft_model(base, lora).eval()
        plain_logits(model, try_tokens(base, 3))
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except MODEL_ERRORS as error:
        raise ConfigError(
            f"LoRA cannot adapt all layers that lora_target_modules {target_modules!r} names; "
            f"this model's linear layers are {_leaves(fitting)}."
        ) from error
    return model


def _named(base: Any, names: str, fitting: Sequence[str]) -> list[str]:
    """The layers of ``fitting`` that match a list of names.

    Raises:
        ConfigError: a name matches none of them.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    tables = (base.get_output_embeddings(), base.get_input_embeddings())
    outer = {
        name.rpartition(".")[2] for name, module in base.named_modules() if any(module is t for t in tables)
    }
    clash = outer.intersection(name.rpartition(".")[2] for name in wanted)
    if clash:
        raise ConfigError(
            f"lora_target_modules may not name {min(clash)!r}: embeddings and output head are not adapted."
        )
    found = {name: [full for full in fitting if full == name or full.endswith(f".{name}")] for name in wanted}
    missing = [name for name, layers in found.items() if not layers]
    if missing or not wanted:
        raise ConfigError(
            f"lora_target_modules {names!r} matches no layer of the model ({', '.join(missing)}); "
            f"use all-linear, or some of {_leaves(fitting)}."
        )
    return [full for full in fitting if any(full in layers for layers in found.values())]


def _leaves(names: Sequence[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[2] for name in names}))


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence one warning: PEFT uses a name that transformers has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A scope with seeded global generators of torch."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def check_adapter(base: Any, folder: Path) -> Any:
    """Check that a stored LoRA adapter fits a base model, before the model is changed.

    Returns:
        The adapter's PEFT configuration.

    Raises:
        ModelError: it is no LoRA adapter in safetensors, or has other layers or sizes.
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
        raise _unfitting(folder)
    return config


def _tensor_fits(base: Any, name: str, shape: tuple[int, ...]) -> bool:
    module_name, _, matrix = name.removesuffix(".weight").rpartition(".")
    try:
        layer = base.get_submodule(module_name.removeprefix(_PREFIX))
        packed = is_four_bit(getattr(layer, "base_layer", layer))  # its weight has another shape
        sides = (layer.out_features, layer.in_features) if packed else layer.weight.shape
    except AttributeError:
        return False
    # GPT-2's Conv1D stores [in, out] where Linear stores [out, in]
    side = {"lora_A": shape[-1], "lora_B": shape[0]}.get(matrix)
    return side in sides


def merge_adapters(model: Any, folders: Sequence[Path]) -> None:
    """Add stored LoRA adapters to a model's weights, in float32, and round each weight once.

    An adapter that was trained on 4-bit weights is added to the weights as 4 bits hold them.

    Raises:
        ModelError: an adapter cannot be read, does not fit, or adapts a table that embeddings and output head
            share.
        ConfigError: an adapter was trained on 4-bit weights, and bitsandbytes is missing.
    """
    layers: dict[str, list[_Part | None]] = {}
    for folder in folders:
        config = check_adapter(model, folder)
        if was_on_four_bit(folder):
            require_bitsandbytes(f"The adapter {folder.name!r}, which was trained on 4-bit weights,")
            for name in four_bit_layers(model):
                layers.setdefault(name, []).append(None)
        scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        for name in sorted(
            tensor.removesuffix(".lora_A.weight") for tensor in tensors if ".lora_A." in tensor
        ):
            try:
                both = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
            except KeyError as error:
                raise _unfitting(folder) from error
            layers.setdefault(name.removeprefix(_PREFIX), []).append((*both, scale))
        _refuse_shared(model, layers, folder)
    with torch.no_grad():
        for name, parts in layers.items():
            try:
                _merge(model.get_submodule(name), parts)
            except (RuntimeError, AttributeError) as error:  # sizes that only look right
                raise _unfitting(folders[-1]) from error


def _merge(layer: Any, parts: Sequence[_Part | None]) -> None:
    """Add adapters to a layer's weight; None stands for holding the sum so far in 4 bits."""
    from transformers.pytorch_utils import Conv1D

    merged = layer.weight.to(torch.float32, copy=True)
    for part in parts:
        if part is None:
            merged = through_four_bit(merged)
            continue
        a, b, scale = part
        product = scale * (b.float() @ a.float()).to(merged.device)
        merged += product.T if isinstance(layer, Conv1D) else product
    layer.weight.copy_(merged)


def _refuse_shared(model: Any, names: Iterable[str], folder: Path) -> None:
    """Refuse an adapter of a table that the embeddings and the output head share: both would change."""
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is not table.weight:
        return
    shared = next((name for name in names if model.get_submodule(name) in (head, table)), None)
    if shared is not None:
        raise ModelError(
            f"The adapter {folder.name!r} adapts {shared}, whose weights the embeddings and the output head "
            "share, so it cannot be merged; train an adapter without it."
        )


def adapter_identity(folder: Path) -> list[Any]:
    """What determines the weights that an adapter makes: its tensors, its scale, and 4-bit weights below."""
    config = read_lora_config(folder / ADAPTER_CONFIG)
    own = [sha256(folder / ADAPTER_WEIGHTS), config.r, config.lora_alpha, bool(config.use_rslora)]
    return [*own, "4 bit"] if was_on_four_bit(folder) else own


def _unfitting(folder: Path) -> ModelError:
    return ModelError(
        f"The adapter {folder.name!r} does not fit this base model; use the one it was trained on."
    )
