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

from hypo_engine.cpu.bf16_gemm import Rounded, product, rounded
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

    def narrow(self) -> tuple[Tensor, Tensor]:
        """A, and B times the scale, in bfloat16."""
        with torch.no_grad():
            return self.a.to(torch.bfloat16), (self.b * self.scale).to(torch.bfloat16)


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
    narrow = rounded(x.reshape(-1, x.shape[-1]))
    for part in parts:
        terms, down = [(narrow, part.base.weight)], None
        if part.on:
            a, b = part.narrow()
            down = rounded(product([(narrow, a)]))
            terms.append((down, b))
        y = product(terms)
        if part.base.bias is not None:
            y.add_(part.base.bias)
        yield y.view(*x.shape[:-1], -1), None if down is None else down.padded


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
        narrow = rounded(x.reshape(-1, x.shape[-1]))
        terms, of_a, of_b = list[tuple[Rounded, Tensor]](), list[Tensor](), list[Tensor]()
        for part, down, given in zip(parts, downs, upstream, strict=True):
            a, b = part.narrow()
            above = rounded(given.reshape(-1, given.shape[-1]))
            up = product([(above, b.t())])
            of_a.append(product([(rounded(up.t().contiguous()), narrow.matrix.t())]))
            through = down[: narrow.rows, : len(a)].t().float().contiguous()
            of_b.append((product([(rounded(through), above.matrix.t())]) * part.scale).t())
            terms += [(above, part.base.weight.t()), (rounded(up), a.t())]
        of_x = product(terms).view(x.shape) if ctx.needs_input_grad[0] else None
        return of_x, None, None, *of_a, *of_b
