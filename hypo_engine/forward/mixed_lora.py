"""LoRA on bfloat16 weights with float32 activations (:mod:`.mixed`), for a policy that trains.

A merged weight would have to be rounded to bfloat16, which loses most of a small update. Here the update is a
second term of the same sum: y = x W^T + (x A^T) (scale B)^T, which takes no pass over y of its own. Layers
that read the same input round it once.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hypo_engine.cpu import lora_bf16
from hypo_engine.cpu.lora_bf16 import Adapted
from hypo_engine.forward.mixed import MixedLinear
from hypo_engine.forward.peft_layers import ReplacedLayers, adapted_layers
from hypo_engine.forward.rematerialize import Recipe, recipe_of
from hypo_engine.forward.routed_lora import LowRank


class MixedLora(ReplacedLayers):
    """Computes a mixed-precision model's LoRA layers: one float32 adapter on a bfloat16 base.

    Layers other than plain linear ones keep PEFT's forward.
    """

    def __init__(self, model: Any, adapter: str = "default") -> None:
        layers = {
            layer: MixedLoraLayer(layer, adapter)
            for layer in adapted_layers(model)
            if isinstance(vars(layer.base_layer).get("forward"), MixedLinear)
        }
        super().__init__(model, layers, _Joint)


class MixedLoraLayer:
    """The forward of one layer, with or without its adapter."""

    def __init__(self, layer: Any, adapter: str) -> None:
        self.on = True
        self.base, self.scale = layer.base_layer, layer.scaling[adapter]
        self.a, self.b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        layer.forward = self

    def __call__(self, x: Tensor) -> Tensor:
        return _run([self], x)[0]

    def adapter(self) -> LowRank | None:
        """The adapter's matrices; None while it is off."""
        return LowRank(self.a, self.b, self.scale) if self.on else None

    def adapted(self) -> Adapted:
        """The layer's numbers; without its adapter while that is off."""
        base, own = self.base, (self.a, self.b, self.scale) if self.on else ()
        return Adapted(base.weight, base.bias, *own)


class _Joint:
    """Layers that read the same input, as one autograd function that sums their input gradients."""

    def __init__(self, parts: Sequence[MixedLoraLayer]) -> None:
        self._parts = parts

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        return _run(self._parts, x)


def adapters_of(layer: Any) -> list[LowRank]:
    """The adapter that a layer adds to its frozen weight now; none for a layer of another kind."""
    forward = vars(layer).get("forward")
    found = forward.adapter() if isinstance(forward, MixedLoraLayer) else None
    return [found] if found else []


def _run(parts: Sequence[MixedLoraLayer], x: Tensor) -> tuple[Tensor, ...]:
    if torch.is_grad_enabled() and all(part.on for part in parts):
        found: tuple[Tensor, ...] = _LowRankLinear.apply(  # type: ignore[no-untyped-call]
            x, recipe_of(x), parts, *(part.a for part in parts), *(part.b for part in parts)
        )
        return found
    if torch.is_grad_enabled():
        return tuple(part.base(x) for part in parts)
    return tuple(y for y, _ in _forward(parts, x))


def _forward(parts: Sequence[MixedLoraLayer], x: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Each layer's output, and x A^T in bfloat16 if its adapter is on."""
    for y, down in lora_bf16.forward(_rows(x), [part.adapted() for part in parts]):
        yield y.view(*x.shape[:-1], -1), down


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


class _LowRankLinear(torch.autograd.Function):
    """y_i = x W_i^T + scale_i x A_i^T B_i^T + bias_i: gradients of x, all A and all B; the rest is frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, recipe: Recipe, parts: Sequence[MixedLoraLayer], *ab: Tensor
    ) -> tuple[Tensor, ...]:
        found, downs = zip(*_forward(parts, x), strict=True)
        ctx.save_for_backward(*ab, *downs, *recipe.of)
        ctx.parts, ctx.make = parts, recipe.make
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        parts, count = ctx.parts, len(ctx.parts)
        saved = ctx.saved_tensors
        downs, x = saved[2 * count : 3 * count], ctx.make(*saved[3 * count :])
        of_x, of_a, of_b = lora_bf16.gradients(
            _rows(x),
            [part.adapted() for part in parts],
            downs,
            [_rows(given) for given in upstream],
            of_input=ctx.needs_input_grad[0],
        )
        return None if of_x is None else of_x.view(x.shape), None, None, *of_a, *of_b
