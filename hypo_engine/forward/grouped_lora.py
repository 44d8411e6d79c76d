"""LoRA on bfloat16 or 4-bit weights with bfloat16 activations, as on a GPU, for a policy that trains.

PEFT casts the input of every layer to float32 for the adapter's products, which saves a second and larger
copy of it for the backward pass and leaves the fast units of a GPU idle. Here y = x W^T + (x A^T) (scale B)^T
is computed in bfloat16 from a float32 adapter: x A^T is one product for all layers that read the same input,
and the second term is added in place. Adapter, accumulated gradients and optimiser stay float32.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypo_engine.forward.four_bit import is_four_bit
from hypo_engine.forward.packed import base_model
from hypo_engine.forward.peft_layers import ReplacedLayers, adapted_layers


class GroupedLora(ReplacedLayers):
    """Computes a model's LoRA layers in the data type of their inputs.

    Layers other than plain linear ones and 4-bit ones keep PEFT's forward.
    """

    def __init__(self, model: Any, adapter: str = "default") -> None:
        layers = {
            layer: _Layer(layer, adapter)
            for layer in adapted_layers(model)
            if type(layer.base_layer) is nn.Linear or is_four_bit(layer.base_layer)
        }
        super().__init__(model, layers, _Group)
        self._groups = {layer.group for layer in layers.values()}
        body = base_model(model).base_model
        body.register_forward_pre_hook(self._forget)
        body.register_forward_hook(self._forget, always_call=True)

    def _forget(self, *_: Any) -> None:
        """Drop what a pass left: one that failed, or whose layers were not all asked."""
        for group in self._groups:
            group.forget()


class _Layer:
    """The forward of one layer, with or without its adapter."""

    def __init__(self, layer: Any, adapter: str) -> None:
        self.on = True
        self.base, self.scale = layer.base_layer, layer.scaling[adapter]
        self.a, self.b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        self.group = _Group([self])
        layer.forward = self

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(_rows(x))
        if self.on:
            y.addmm_(self.group.down(self, x), (self.b * self.scale).to(y.dtype).t())
        return y.view(*x.shape[:-1], y.shape[-1])


class _Group:
    """Layers that read the same input."""

    def __init__(self, parts: Sequence[_Layer]) -> None:
        self._parts = parts
        self.forget()
        for part in parts:
            part.group = self

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(x) for part in self._parts)

    def forget(self) -> None:
        """Drop products that no layer has asked for, and the graph that they hold."""
        self._read: Tensor | None = None
        self._downs: dict[_Layer, Tensor] = {}

    def down(self, part: _Layer, x: Tensor) -> Tensor:
        """x A^T of a part, [tokens, rank]; the first that asks has it computed for all parts."""
        if self._read is not x or part not in self._downs:
            a = torch.cat([one.a for one in self._parts]).to(x.dtype)
            ranks = [len(one.a) for one in self._parts]
            downs = torch.split(F.linear(_rows(x), a), ranks, dim=-1)
            self._read, self._downs = x, dict(zip(self._parts, downs, strict=True))
        down = self._downs.pop(part)
        if not self._downs:
            self._read = None
        return down


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])
