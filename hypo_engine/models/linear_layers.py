"""The linear layers of a model: those that LoRA adapts, and those that 4 bits can hold."""

import re
from typing import Any

import torch
from torch import nn

from hypo_engine.errors import ConfigError
from hypo_engine.forward.four_bit import in_four_bit
from hypo_engine.forward.packed import base_model

_ROUTER = re.compile(r"router|topk|moegate|gating", re.IGNORECASE)
_GATES = frozenset({"gate", "router", "shared_expert_gate", "wg", "dt_proj"})
_OF_EXPERTS = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})
"""Names that PEFT treats as a mixture's experts and would adapt differently."""


def linear_layers(base: Any) -> list[str]:
    """Names of the layers that LoRA adapts by default, in the model's order.

    The output head and the embeddings are not adapted. Neither are the routers of mixtures, which train
    best frozen, and experts, which transformers stores as one tensor. Of state space layers only the first
    projection is adapted, because fused kernels read the weights of the others directly.
    """
    from transformers.pytorch_utils import Conv1D

    tables = (base.get_output_embeddings(), base.get_input_embeddings())
    mixture = any(weight.dim() == 3 and "expert" in name for name, weight in base.named_parameters())
    aside: list[str] = []
    found = []
    for name, module in base.named_modules():
        kind = type(module).__name__
        if _ROUTER.search(kind):
            aside.append(f"{name}.")
        leaf = name.rpartition(".")[2]
        if not isinstance(module, (nn.Linear, Conv1D)) or any(module is table for table in tables):
            if any(isinstance(child, nn.Conv1d) for child in module.children()):
                aside += [f"{name}.{inner}" for inner in ("out_proj", "x_proj", "dt_proj")]
            continue
        if any(name == place or (place.endswith(".") and name.startswith(place)) for place in aside):
            continue
        if _ROUTER.search(kind) or leaf in _GATES or (mixture and leaf in _OF_EXPERTS):
            continue
        found.append(name)
    return found


def four_bit_layers(base: Any) -> list[str]:
    """Names of the layers whose weights are held in 4 bits: the plain ones among those that LoRA adapts."""
    return [name for name in linear_layers(base) if type(base.get_submodule(name)) is nn.Linear]


def whole_layers(model: Any) -> list[str]:
    """Names of the linear layers of a model with 4-bit weights, perhaps adapted, that are not in 4 bits."""
    named = base_model(model).named_modules()
    return [name for name, layer in named if type(layer) is nn.Linear and ".lora_" not in name]


def hold_in_four_bit(base: Any, *, dtype: torch.dtype, device: torch.device) -> None:
    """Move a model to a device with the weights of its linear layers in 4 bits, one layer at a time.

    All other tensors are copied, so that nothing holds on to the file that they were read from. On a CPU they
    become float32 if that is ``dtype``.

    Raises:
        ConfigError: no layer can be held in 4 bits.
    """
    names = four_bit_layers(base)
    if not names:
        raise ConfigError(
            f"The model ({base.config.model_type}) has no linear layer that 4 bits can hold; "
            "set load_in_4bit to false."
        )
    for name in names:
        parent, _, leaf = name.rpartition(".")
        layer = base.get_submodule(name)
        setattr(base.get_submodule(parent), leaf, in_four_bit(layer, dtype=dtype, device=device))
        del layer
    for tensor in (*base.parameters(), *base.buffers()):
        if tensor.is_floating_point():
            kept = torch.float32 if dtype == torch.float32 else tensor.dtype
            tensor.data = tensor.data.to(device=device, dtype=kept, copy=True)
    base.to(device)
    base.is_loaded_in_4bit = True  # as transformers says it to PEFT
