"""LoRA with merged weights, for a policy that trains.

PEFT adds ``scale * B (A x)`` to each layer's result, which takes four small products and three passes over
memory. :class:`MergedLora` computes W + scale * B A, uses it for all tokens at once and discards it. That
takes one product forward and one backward, and the adapter's gradients come from the same tensors. It
replaces the forward of PEFT's layers on this model only; PEFT still stores and loads the adapter.

A weight that is held in 4 bits is expanded for each use and discarded with the merged one.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hypo_engine.cpu import lora
from hypo_engine.cpu.gemm import add_linear, linear
from hypo_engine.forward.four_bit import is_four_bit, weight_of
from hypo_engine.forward.mixed import MixedLinear
from hypo_engine.forward.mixed_lora import MixedLoraLayer
from hypo_engine.forward.peft_layers import ReplacedLayers, adapted_layers
from hypo_engine.forward.rematerialize import Recipe, recipe_of

_FEW = 64
"""Up to this many tokens, the adapter's small products cost less than merging."""


def weight_and_bias(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    """The weight and bias that a linear layer computes with; None if it has several weights or 4-bit ones.

    This call computes a merged weight. An adapter on bfloat16 weights is left to the caller.
    """
    forward = vars(layer).get("forward")
    if isinstance(forward, _MergedLayer):
        if is_four_bit(forward.base):
            return None
        return forward.lasting() if forward.on else forward.base.weight, forward.base.bias
    if isinstance(forward, MixedLoraLayer):
        return forward.base.weight, forward.base.bias
    is_plain = type(layer) is nn.Linear and (forward is None or isinstance(forward, MixedLinear))
    return (layer.weight, layer.bias) if is_plain else None


class MergedLora(ReplacedLayers):
    """Computes a model's LoRA layers with merged weights: one float32 adapter on a float32 or 4-bit base.

    Layers other than plain linear ones keep PEFT's forward.
    """

    def __init__(self, model: Any, adapter: str = "default", *, often: bool = False) -> None:
        """often: Whether every step samples responses; if so, merged weights keep their buffers."""
        merged = {
            layer: _MergedLayer(layer, adapter, often=often)
            for layer in adapted_layers(model)
            if isinstance(layer.base_layer, nn.Linear)
        }
        super().__init__(model, merged, _Joint)


class _MergedLayer:
    """The forward of one layer, with or without its adapter."""

    def __init__(self, layer: Any, adapter: str, *, often: bool) -> None:
        self.on, self._often = True, often
        self._buffer: Tensor | None = None
        self.base, self.scale = layer.base_layer, layer.scaling[adapter]
        self.a, self.b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        layer.forward = self

    def weight(self) -> Tensor:
        """W, [outputs, inputs]."""
        found: Tensor = weight_of(self.base) if is_four_bit(self.base) else self.base.weight
        return found

    def merged(self, buffer: Tensor | None = None) -> Tensor:
        """W + scale B A, [outputs, inputs], without autograd."""
        return lora.merge(self.weight(), self.a, self.b, self.scale, buffer)

    def lasting(self) -> Tensor:
        """The same in a reused buffer, for a caller that uses it many times; valid until the next call."""
        found = self.merged(self._buffer)
        self._buffer = found if self._often else None
        return found

    def __call__(self, x: Tensor) -> Tensor:
        base = self.base
        if torch.is_grad_enabled():
            if not self.on:
                return F.linear(x, self.weight(), base.bias)
            found: Tensor = _MergedLinear.apply(x, recipe_of(x), self.a, self.b, self)  # type: ignore[no-untyped-call]
            return found
        if self.on and x.numel() > _FEW * x.shape[-1]:
            return linear(x, self.merged(), base.bias)
        found = linear(x, self.weight(), base.bias)
        return found.add_(F.linear(F.linear(x, self.a), self.b), alpha=self.scale) if self.on else found


class _Joint:
    """Layers that read the same input, as one autograd function that sums their input gradients in place."""

    def __init__(self, parts: Sequence[_MergedLayer]) -> None:
        self._parts = parts

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        parts = self._parts
        if not torch.is_grad_enabled() or not all(part.on for part in parts):
            return tuple(part(x) for part in parts)
        found: tuple[Tensor, ...] = _JointLinear.apply(  # type: ignore[no-untyped-call]
            x, recipe_of(x), parts, *(part.a for part in parts), *(part.b for part in parts)
        )
        return found


class _JointLinear(torch.autograd.Function):
    """(y_i = x W'_i^T + bias_i) with W'_i = W_i + scale_i B_i A_i; gradients of x, all A and all B."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, recipe: Recipe, parts: Sequence[_MergedLayer], *ab: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*ab, *recipe.of)
        ctx.parts, ctx.make = parts, recipe.make
        return tuple(linear(x, part.merged(), part.base.bias) for part in parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved, count = ctx.saved_tensors, len(upstream)
        a, b, x = saved[:count], saved[count : 2 * count], ctx.make(*saved[2 * count :])
        rows = x.reshape(-1, x.shape[-1])
        given = [part.reshape(-1, part.shape[-1]) for part in upstream]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = linear(given[0], ctx.parts[0].merged().t())
            for part, layer in zip(given[1:], ctx.parts[1:], strict=True):
                add_linear(of_x, part, layer.merged().t())
            of_x = of_x.view(x.shape)
        scales = [part.scale for part in ctx.parts]
        of_a, of_b = _adapter_gradients(rows, given, a, b, scales)
        return of_x, None, None, *of_a, *of_b


class _MergedLinear(torch.autograd.Function):
    """y = x W'^T + bias with W' = W + scale B A: gradients of x, A and B; W and the bias are frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, recipe: Recipe, a: Tensor, b: Tensor, layer: _MergedLayer) -> Tensor:
        ctx.save_for_backward(a, b, *recipe.of)
        ctx.layer, ctx.make = layer, recipe.make
        return linear(x, layer.merged(), layer.base.bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        a, b, *of = ctx.saved_tensors
        x = ctx.make(*of)
        of_x = linear(upstream, ctx.layer.merged().t()) if ctx.needs_input_grad[0] else None
        rows, upstream = x.reshape(-1, x.shape[-1]), upstream.reshape(-1, upstream.shape[-1])
        (of_a,), (of_b,) = _adapter_gradients(rows, [upstream], [a], [b], [ctx.layer.scale])
        return of_x, None, of_a, of_b, None


def _adapter_gradients(
    x: Tensor,
    upstream: Sequence[Tensor],
    a: Sequence[Tensor],
    b: Sequence[Tensor],
    scales: Sequence[float],
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients scale (g B)^T x of each A [rank, inputs], and scale g^T (x A^T) of each B [outputs, rank].

    Args:
        x: [tokens, inputs].
        upstream: g of each layer, [tokens, outputs].
    """
    found = lora.gradients(x, upstream, a, b, scales)
    if found is None:
        layers = list(zip(upstream, a, b, scales, strict=True))
        of_a = [((g @ up) * scale).t() @ x for g, _, up, scale in layers]
        of_b = [g.t() @ ((x @ down.t()) * scale) for g, down, _, scale in layers]
        found = of_a, of_b
    return found
