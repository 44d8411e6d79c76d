"""How LoRA layers are computed while a policy trains, and while several adapters answer together.

PEFT adds ``scale * B (A x)`` to each layer's result: four small products and three passes over memory.
:class:`Merged` keeps W + scale * B A beside W and needs one product, forward and backward, with the adapter's
gradients made from the same tensors. :class:`Routed` gives each token of a packed row the adapter of its own.
Both replace the forward of PEFT's layers on this model only; what PEFT stores and loads stays PEFT's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def adapted_layers(model: Any) -> list[Any]:
    """PEFT's LoRA layers, in the model's order."""
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]


class Merged:
    """LoRA with merged weights: for one float32 adapter on a float32 base that is being trained.

    Layers that are not plain linear ones keep PEFT's forward.
    """

    def __init__(self, model: Any, adapter: str = "default") -> None:
        self._layers = [
            _MergedLayer(layer, adapter)
            for layer in adapted_layers(model)
            if isinstance(layer.base_layer, nn.Linear)
        ]

    def refresh(self) -> None:
        """Merge the adapter as it is now; due whenever a new pass over the model begins."""
        for layer in self._layers:
            layer.merge()

    @contextmanager
    def off(self) -> Iterator[None]:
        """The base model alone: the reference."""
        for layer in self._layers:
            layer.on = False
        try:
            yield
        finally:
            for layer in self._layers:
                layer.on = True


class _MergedLayer:
    """The forward of one layer."""

    def __init__(self, layer: Any, adapter: str) -> None:
        self.on = True
        self._base, self._scale = layer.base_layer, layer.scaling[adapter]
        self._a, self._b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        self._merged = torch.empty_like(self._base.weight, requires_grad=False)
        layer.forward = self
        self.merge()

    @torch.no_grad()
    def merge(self) -> None:
        torch.addmm(self._base.weight, self._b, self._a, alpha=self._scale, out=self._merged)

    def __call__(self, x: Tensor) -> Tensor:
        base = self._base
        if not self.on or not torch.is_grad_enabled():
            return F.linear(x, self._merged if self.on else base.weight, base.bias)
        arguments = (x, self._a, self._b, self._merged, base.bias, self._scale)
        found: Tensor = _MergedLinear.apply(*arguments)  # type: ignore[no-untyped-call]
        return found


class _MergedLinear(torch.autograd.Function):
    """y = x W'^T + bias with W' = W + scale B A: gradients of x, A and B; W and the bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, a: Tensor, b: Tensor, merged: Tensor, bias: Tensor, scale: float
    ) -> Tensor:
        ctx.save_for_backward(x, a, b)
        ctx.merged, ctx.scale = merged, scale
        return F.linear(x, merged, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b = ctx.saved_tensors
        of_x = upstream @ ctx.merged if ctx.needs_input_grad[0] else None
        rows, upstream = x.reshape(-1, x.shape[-1]), upstream.reshape(-1, upstream.shape[-1])
        of_a = torch.mm((upstream @ b).t(), rows).mul_(ctx.scale)
        # the long dimension first: twice as fast as upstream^T (A x)
        of_b = torch.mm((rows @ a.t()).t(), upstream).mul_(ctx.scale).t().contiguous()
        return of_x, of_a, of_b, None, None, None


class Routed:
    """Each token of a packed row under the adapter of its own; for serving, without gradients."""

    def __init__(self, model: Any) -> None:
        self._groups: list[tuple[str, Tensor]] = []
        self._layers = adapted_layers(model)
        for layer in self._layers:
            layer.forward = partial(self._forward, layer)

    def release(self) -> None:
        """Give PEFT's layers their own forward back."""
        for layer in self._layers:
            del layer.forward

    def route(self, adapters: Sequence[str | None], device: torch.device) -> None:
        """Name the adapter of every token that the model sees next; None is the base model."""
        places: dict[str, list[int]] = {}
        for place, adapter in enumerate(adapters):
            if adapter is not None:
                places.setdefault(adapter, []).append(place)
        self._groups = [(name, torch.tensor(found, device=device)) for name, found in places.items()]

    def _forward(self, layer: Any, x: Tensor) -> Tensor:
        found: Tensor = layer.base_layer(x)
        rows, results = x.reshape(-1, x.shape[-1]), found.view(-1, found.shape[-1])
        for name, places in self._groups:
            if name in layer.lora_A:
                a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
                update = (rows[places].to(a.dtype) @ a.t()) @ b.t()
                results.index_add_(0, places, (update * layer.scaling[name]).to(results.dtype))
        return found
