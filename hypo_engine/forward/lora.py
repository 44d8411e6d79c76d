"""How LoRA layers are computed while a policy trains, and while several adapters answer together.

PEFT adds ``scale * B (A x)`` to each layer's result: four small products and three passes over memory.
:class:`Merged` makes W + scale * B A, uses it for all tokens at once and forgets it; it needs one product,
forward and backward, with the adapter's gradients made from the same tensors. :class:`Routed` gives each
token of a packed row the adapter of its own. Both replace the forward of PEFT's layers on this model only;
what PEFT stores and loads stays PEFT's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hypo_engine.cpu import lora
from hypo_engine.cpu.gemm import add_linear, linear
from hypo_engine.errors import ModelError
from hypo_engine.forward.rematerialize import Recipe, recipe_of

SIDE_BY_SIDE = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers of attention and of a gated feed-forward that read the same input."""

_FEW = 64
"""So few tokens that the adapter's own small products cost less than merging it."""


def adapted_layers(model: Any) -> list[Any]:
    """PEFT's LoRA layers, in the model's order."""
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def weight_and_bias(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    """The one weight and bias by which a linear layer computes now; None if it is more than that.

    A merged weight is made for the one who asks.
    """
    forward = vars(layer).get("forward")
    if isinstance(forward, _MergedLayer):
        return forward.lasting() if forward.on else forward.base.weight, forward.base.bias
    return (layer.weight, layer.bias) if type(layer) is nn.Linear and forward is None else None


class Merged:
    """LoRA with merged weights: for one float32 adapter on a float32 base that is being trained.

    Layers that are not plain linear ones keep PEFT's forward.
    """

    def __init__(self, model: Any, adapter: str = "default", *, often: bool = False) -> None:
        """often: Whether responses are sampled in every step; the weights for it then keep their memory."""
        merged = {
            layer: _MergedLayer(layer, adapter, often=often)
            for layer in adapted_layers(model)
            if isinstance(layer.base_layer, nn.Linear)
        }
        self._layers = list(merged.values())
        for module in model.modules():
            for names in SIDE_BY_SIDE:
                parts = [merged.get(getattr(module, name, None)) for name in names]
                if None not in parts:
                    module.joint = _Joint([part for part in parts if part])

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

    def __init__(self, layer: Any, adapter: str, *, often: bool) -> None:
        self.on, self._often = True, often
        self._place: Tensor | None = None
        self.base, self.scale = layer.base_layer, layer.scaling[adapter]
        self.a, self.b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        layer.forward = self

    def merged(self, place: Tensor | None = None) -> Tensor:
        """W + scale B A, [outputs, inputs], without a graph."""
        return lora.merge(self.base.weight, self.a, self.b, self.scale, place)

    def lasting(self) -> Tensor:
        """The same for those who use it many times; until they ask again."""
        found = self.merged(self._place)
        self._place = found if self._often else None
        return found

    def __call__(self, x: Tensor) -> Tensor:
        base = self.base
        if torch.is_grad_enabled():
            if not self.on:
                return F.linear(x, base.weight, base.bias)
            found: Tensor = _MergedLinear.apply(x, recipe_of(x), self.a, self.b, self)  # type: ignore[no-untyped-call]
            return found
        if self.on and x.numel() > _FEW * x.shape[-1]:
            return linear(x, self.merged(), base.bias)
        found = linear(x, base.weight, base.bias)
        return found.add_(F.linear(F.linear(x, self.a), self.b), alpha=self.scale) if self.on else found


class _Joint:
    """Layers that read the same input, in one function: their gradients of it are added up in place."""

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


class Routed:
    """Each token of a packed row under the adapter of its own; for serving, without gradients."""

    def __init__(self, model: Any) -> None:
        self._groups: list[tuple[str, Tensor]] = []
        self._tokens = 0
        self._layers = adapted_layers(model)
        for layer in self._layers:
            layer.forward = partial(self._forward, layer)

    def release(self) -> None:
        """Give PEFT's layers their own forward back."""
        for layer in self._layers:
            del layer.forward

    def route(self, adapters: Sequence[str | None], device: torch.device) -> None:
        """Name the adapter of every token that the model sees next; None is the base model."""
        self._tokens = len(adapters)
        places: dict[str, list[int]] = {}
        for place, adapter in enumerate(adapters):
            if adapter is not None:
                places.setdefault(adapter, []).append(place)
        self._groups = [(name, torch.tensor(found, device=device)) for name, found in places.items()]

    def _forward(self, layer: Any, x: Tensor) -> Tensor:
        found: Tensor = layer.base_layer(x)
        rows, results = x.reshape(-1, x.shape[-1]), found.view(-1, found.shape[-1])
        if self._groups and len(rows) != self._tokens:
            raise ModelError(
                "This architecture runs an adapted layer on a part of the tokens, so adapters cannot answer "
                "side by side here; export the run and load it by itself."
            )
        for name, places in self._groups:
            if name in layer.lora_A:
                a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
                update = (rows[places].to(a.dtype) @ a.t()) @ b.t()
                results.index_add_(0, places, (update * layer.scaling[name]).to(results.dtype))
        return found
