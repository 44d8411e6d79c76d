"""Gradient checkpointing: layers keep their input and run again in the backward pass (arXiv 1604.06174).

The recomputing is transformers' own. It happens in training mode only, where the engine never is otherwise.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hypo_engine.errors import ConfigError

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD in malloc.h
_LARGE = 2**20


def enable(model: Any) -> None:
    """Have a model's layers recompute wherever :func:`recomputing` allows it.

    Raises:
        ConfigError: transformers has no checkpointing for this architecture.
    """
    if not getattr(model, "supports_gradient_checkpointing", True):
        raise ConfigError(
            f"gradient_checkpointing: the architecture {model.config.model_type} does not support "
            "it; switch it off."
        )
    # the first is the second's new name in transformers
    start = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    start({"use_reentrant": False})
    if sys.platform == "linux":
        _return_memory()


def _return_memory() -> None:
    """Have glibc hand large tensors back to the system when they are freed.

    By default it learns to keep them, and layers that come and go leave holes that the next do not fit: the
    same step then takes as much memory as without checkpointing.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's own, not every C library has it
    if set_option:
        set_option(_MMAP_THRESHOLD, _LARGE)


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """A scope in which a forward pass with a graph keeps only its layers' inputs."""
    if not torch.is_grad_enabled():
        yield
        return
    # these alone: their children would drop out or draw routes, and not the same when they run again
    layers = _outermost(model)
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def _outermost(model: Any) -> list[nn.Module]:
    """The modules that recompute, without those inside another that does.

    A layer runs again in the backward pass, when :func:`recomputing` is over: what it holds must not
    recompute in one of the two and not in the other. A model that loops over its layers itself holds no such
    layers.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    marked = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    layers = [module for module in marked if isinstance(module, GradientCheckpointingLayer)]
    nested = {inner for layer in layers for inner in layer.modules() if inner is not layer}
    return [module for module in marked if module not in nested]


class CheckpointedModel:
    """A model whose forward pass checkpoints its layers.

    Attributes:
        model: The model itself.
    """

    def __init__(self, model: Any) -> None:
        enable(model)
        self.model, self.device = model, model.device

    def __call__(self, **inputs: Any) -> Any:
        with recomputing(self.model):
            return self.model(**inputs)


def unwrapped(model: Any) -> Any:
    """The model itself, without :class:`CheckpointedModel` around it."""
    return model.model if isinstance(model, CheckpointedModel) else model
