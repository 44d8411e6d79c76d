"""A trained model's weights with the adapter added to them, by the names of a model without an adapter."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hypo_engine.forward.four_bit import is_four_bit, weight_of


@torch.no_grad()
def merged_weights(base: Any) -> Iterator[tuple[str, Tensor]]:
    """Names and weights; an adapted or a 4-bit weight is new, every other one is the model's own."""
    four_bit = {name: layer for name, layer in base.named_modules() if is_four_bit(layer)}
    for name, weight in base.state_dict().items():
        if "lora_" in name or name.rpartition(".weight.")[0] in four_bit:
            continue  # a 4-bit weight has further tensors beside it
        if name.endswith(".weight") and (packed := four_bit.get(name.removesuffix(".weight"))):
            weight = weight_of(packed).to(base.dtype)
        layer_name, inside, rest = name.partition(".base_layer.")
        layer = base.get_submodule(layer_name) if inside else None
        if layer is not None and rest == "weight":
            weight = weight + layer.get_delta_weight("default").to(weight.dtype)
        yield (f"{layer_name}.{rest}" if inside else name), weight


def weights_as_in_files(base: Any) -> Iterator[tuple[str, Tensor]]:
    """The same as the model's files have them: a shared table has one name, and experts are apart."""
    from transformers.core_model_loading import revert_weight_conversion

    second = set(base.all_tied_weights_keys)
    found = ((name, weight) for name, weight in merged_weights(base) if name not in second)
    if getattr(base, "_weight_conversions", None):
        yield from revert_weight_conversion(base, dict(found)).items()
    else:
        yield from found
