"""LoRA on bfloat16 weights with float32 activations (:mod:`.mixed`), for a policy that trains.

A merged weight would have to be rounded to bfloat16, which loses most of a small update. Here the update is a
second term of the same sum: y = x W^T + (x A^T) (scale B)^T, which takes no pass over y of its own. Layers
that read the same input round it once.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hypo_engine.cpu import gate_bf16, lora_bf16
from hypo_engine.cpu.bf16_gemm import Rounded, unset
from hypo_engine.cpu.gate_bf16 import swiglu, swiglu_gradient
from hypo_engine.cpu.lora_bf16 import Adapted, Downs, gives_rounded, write_gradients, write_outputs
from hypo_engine.cpu.pool import empty
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
        for module in model.modules():
            parts = [layers.get(getattr(module, name, None)) for name in GATED]
            if all(parts):
                module.gated = GatedMlp([part for part in parts if part])


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
        """The layer's numbers with its adapter."""
        return Adapted(self.base.weight, self.base.bias, self.a, self.b, self.scale)

    def now(self) -> Adapted:
        """The same; without its adapter while that is off."""
        return self.adapted() if self.on else Adapted(self.base.weight, self.base.bias)


def adapters_of(layer: Any) -> list[LowRank]:
    """The adapter that a layer adds to its frozen weight now; none for a layer of another kind."""
    forward = vars(layer).get("forward")
    found = forward.adapter() if isinstance(forward, MixedLoraLayer) else None
    return [found] if found else []


class _Joint:
    """Layers that read the same input, as one autograd function that sums their input gradients."""

    def __init__(self, parts: Sequence[MixedLoraLayer]) -> None:
        self._parts = parts

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        return _run(self._parts, x)


def _run(parts: Sequence[MixedLoraLayer], x: Tensor) -> tuple[Tensor, ...]:
    if torch.is_grad_enabled() and all(part.on for part in parts):
        found: tuple[Tensor, ...] = _LowRankLinear.apply(  # type: ignore[no-untyped-call]
            x, recipe_of(x), parts, *(part.a for part in parts), *(part.b for part in parts)
        )
        return found
    if torch.is_grad_enabled():
        return tuple(part.base(x) for part in parts)
    return tuple(y for y in _outputs(parts, x)[0])


def _outputs(parts: Sequence[MixedLoraLayer], x: Tensor) -> tuple[list[Tensor], Downs]:
    found, downs = lora_bf16.forward(rows_of(x), [part.now() for part in parts])
    return [y.view(*x.shape[:-1], -1) for y in found], downs


def rows_of(x: Tensor) -> Tensor:
    """[..., size] -> [rows, size]."""
    return x.reshape(-1, x.shape[-1])


class _LowRankLinear(torch.autograd.Function):
    """y_i = x W_i^T + scale_i x A_i^T B_i^T + bias_i: gradients of x, all A and all B; the rest is frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, recipe: Recipe, parts: Sequence[MixedLoraLayer], *ab: Tensor
    ) -> tuple[Tensor, ...]:
        found, downs = _outputs(parts, x)
        ctx.save_for_backward(*ab, *downs, *recipe.of)
        ctx.parts, ctx.make = parts, recipe.make
        return tuple(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        parts, count = ctx.parts, len(ctx.parts)
        saved = ctx.saved_tensors
        downs, x = saved[2 * count : 3 * count], ctx.make(*saved[3 * count :])
        of_x, of_a, of_b = lora_bf16.gradients(
            rows_of(x),
            [part.adapted() for part in parts],
            downs,
            [rows_of(given) for given in upstream],
            of_input=ctx.needs_input_grad[0],
        )
        return None if of_x is None else of_x.view(x.shape), None, None, *of_a, *of_b


GATED = ("gate_proj", "up_proj", "down_proj")
"""The layers of a feed-forward module down(silu(gate(x)) * up(x))."""


class GatedMlp:
    """Such a module as one autograd function, between whose layers everything is bfloat16.

    Products read rounded matrices anyway. Gate and up are rounded in addition, and kept so for the backward
    pass.
    """

    def __init__(self, parts: Sequence[MixedLoraLayer]) -> None:
        """parts: Gate, up and down."""
        self._parts = parts

    @property
    def serves(self) -> bool:
        """Whether the machine and the layers allow it."""
        *first, last = [part.adapted() for part in self._parts]
        inner = gives_rounded(first, first[0].weight.shape[1]) and gives_rounded([last], len(last.weight))
        return inner and gate_bf16.is_available()

    def __call__(self, x: Tensor) -> Tensor | None:
        """[..., hidden] -> [..., hidden]; None if the module has to be computed layer by layer."""
        parts = self._parts
        if x.numel() == 0 or x.dtype != torch.float32 or not self.serves:
            return None
        if not torch.is_grad_enabled():
            return _gated(parts, x)[0]
        if not all(part.on for part in parts):
            return None
        found: Tensor = _Gated.apply(  # type: ignore[no-untyped-call]
            x, recipe_of(x), parts, *(part.a for part in parts), *(part.b for part in parts)
        )
        return found


@torch.no_grad()
def _gated(parts: Sequence[MixedLoraLayer], x: Tensor) -> tuple[Tensor, Downs, list[Rounded]]:
    """The module's output, and what its backward pass needs: x A^T of each layer, and gate and up."""
    *first, last = [part.now() for part in parts]
    rows = rows_of(x).contiguous()
    gated = [unset(len(rows), len(layer.weight)) for layer in first]
    found = empty(len(rows), len(last.weight))
    downs = [*write_outputs(rows, first, gated), *write_outputs(swiglu(*gated), [last], [found])]
    return found.view(*x.shape[:-1], -1), downs, gated


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, recipe: Recipe, parts: Sequence[MixedLoraLayer], *ab: Tensor) -> Tensor:
        found, downs, gated = _gated(parts, x)
        ctx.save_for_backward(*ab, *downs, *(matrix.padded for matrix in gated), *recipe.of)
        ctx.parts, ctx.make, ctx.wide = parts, recipe.make, gated[0].depth
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # a checkpointed layer gives them once
        downs, (gate, up) = saved[6:9], saved[9:11]
        x, given = ctx.make(*saved[11:]), rows_of(upstream)
        *first, last = [part.adapted() for part in ctx.parts]
        gated = [Rounded(padded, len(given), ctx.wide) for padded in (gate, up)]
        of_product = unset(len(given), ctx.wide)
        of_last = write_gradients(swiglu(*gated), [last], downs[2:], [given], of_product)
        rows = rows_of(x).contiguous()
        of_x = empty(*rows.shape) if ctx.needs_input_grad[0] else None
        of_first = write_gradients(rows, first, downs[:2], swiglu_gradient(of_product, *gated), of_x)
        of_ab = (matrix for pair in zip(of_first, of_last, strict=True) for part in pair for matrix in part)
        return None if of_x is None else of_x.view(x.shape), None, None, *of_ab
