"""PEFT's LoRA layers in a model, and the layers that read the same input."""

from typing import Any

SIDE_BY_SIDE = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of attention and feed-forward layers that read the same input."""


def adapted_layers(model: Any) -> list[Any]:
    """PEFT's LoRA layers, in the model's order."""
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]
