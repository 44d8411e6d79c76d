"""Gradient checkpointing: layers are recomputed from their inputs (Chen et al., arXiv 1604.06174).

transformers implements it. It is active in training mode only, which the engine uses for nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hypo_engine.cpu.heap import return_large_tensors
from hypo_engine.errors import ConfigError


def enable(model: Any) -> None:
    """Enable recomputation in a model's layers, which takes effect inside :func:`recomputing`.

    Raises:
        ConfigError: transformers does not support checkpointing for this architecture.
    """
    if not getattr(model, "supports_gradient_checkpointing", True):
        raise ConfigError(
            f"gradient_checkpointing: the architecture {model.config.model_type} does not support "
            "it; switch it off."
        )
    # transformers renamed the second to the first
    start = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    start({"use_reentrant": False})
    return_large_tensors()


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """A scope in which a forward pass with autograd keeps only the inputs of its layers."""
    if not torch.is_grad_enabled():
        yield
        return
    # not their children, which might apply dropout or draw random routes that differ on recomputation
    layers = _outermost(model)
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def _outermost(model: Any) -> list[nn.Module]:
    """The outermost modules that recompute.

    A layer is recomputed in the backward pass, after :func:`recomputing` has ended. Modules nested in it
    would recompute the first time but not the second.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    marked = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    layers = [module for module in marked if isinstance(module, GradientCheckpointingLayer)]
    nested = {inner for layer in layers for inner in layer.modules() if inner is not layer}
    return [module for module in marked if module not in nested]


class CheckpointedModel:
    """A model whose forward pass uses gradient checkpointing.

    Attributes:
        model: The wrapped model.
    """

    def __init__(self, model: Any) -> None:
        enable(model)
        self.model, self.device = model, model.device

    def __call__(self, **inputs: Any) -> Any:
        with recomputing(self.model):
            return self.model(**inputs)


def unwrapped(model: Any) -> Any:
    """The model without a :class:`CheckpointedModel` around it."""
    return model.model if isinstance(model, CheckpointedModel) else model
