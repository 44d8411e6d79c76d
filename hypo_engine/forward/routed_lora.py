"""LoRA with an adapter per token, for answering with several adapters in one batch; inference only.

The matrices of all adapters of a pass stand side by side: every token is multiplied by all of them, and a
mask keeps the part of its own adapter. That is a little more arithmetic than a product for each adapter,
and a fraction of the calls, which are what a step of few tokens takes time for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hypo_engine.errors import ModelError
from hypo_engine.forward.peft_layers import adapted_layers

Blocks = tuple[tuple[str, int], ...]
"""The adapters that stand side by side, each with its rank."""


class LowRank(NamedTuple):
    """An adapter's matrices in one layer: a [rank, inputs] and b [outputs, rank], and the scale of b a."""

    a: Tensor
    b: Tensor
    scale: float


class RoutedLora:
    """Runs each token of a packed row with its own adapter."""

    def __init__(self, model: Any) -> None:
        self._adapters: list[str | None] = []
        self._names: list[str] = []
        self._masks: dict[Blocks, Tensor] = {}
        self._joined: dict[Any, tuple[list[str], Blocks, Tensor, Tensor]] = {}
        self._layers = adapted_layers(model)
        for layer in self._layers:
            layer.forward = RoutedLayer(layer, self)

    def release(self) -> None:
        """Restore the forward of PEFT's layers."""
        for layer in self._layers:
            del layer.forward

    def route(self, adapters: Sequence[str | None], device: torch.device) -> None:
        """Set the adapter of every token for the next forward pass; None is the base model."""
        if list(adapters) != self._adapters:
            self._adapters, self._masks = list(adapters), {}
            self._names = sorted({name for name in adapters if name is not None})

    @property
    def names(self) -> list[str]:
        """The adapters of the next pass."""
        return self._names

    @property
    def places(self) -> list[int]:
        """The place of each token's adapter in :attr:`names`; -1 for the base model."""
        return [-1 if name is None else self._names.index(name) for name in self._adapters]

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        found: Tensor = layer.base_layer(x)
        rows, results = x.reshape(-1, x.shape[-1]), found.view(-1, found.shape[-1])
        if self._names and len(rows) != len(self._adapters):
            raise ModelError(
                "This architecture runs an adapted layer on a part of the tokens, so adapters cannot answer "
                "side by side here; export the run and load it by itself."
            )
        if any(name in layer.lora_A for name in self._names):
            blocks, a, b = self._join(layer)
            parts = (rows.to(a.dtype) @ a).mul_(self._mask(blocks, a))
            if results.dtype == b.dtype:
                results.addmm_(parts, b)
            else:
                results.add_(parts @ b)
        return found

    def _join(self, layer: Any) -> tuple[Blocks, Tensor, Tensor]:
        """The adapters' matrices side by side: [inputs, ranks], and [ranks, outputs] times their scales."""
        names, blocks, a, b = self._joined.get(layer, ([], (), None, None))
        if names != self._names or a is None or b is None:
            used = [name for name in self._names if name in layer.lora_A]
            blocks = tuple((name, layer.lora_A[name].weight.shape[0]) for name in used)
            a = torch.cat([layer.lora_A[name].weight for name in used]).t()
            b = torch.cat([layer.lora_B[name].weight.t() * layer.scaling[name] for name in used])
            self._joined[layer] = self._names, blocks, a, b
        return blocks, a, b

    def _mask(self, blocks: Blocks, like: Tensor) -> Tensor:
        """1 where a token meets its own adapter, else 0: [tokens, ranks]."""
        if blocks not in self._masks:
            owners = [number for number, (_, rank) in enumerate(blocks) for _ in range(rank)]
            place = {name: number for number, (name, _) in enumerate(blocks)}
            own = [-1 if name is None else place.get(name, -1) for name in self._adapters]
            table = torch.tensor(own)[:, None] == torch.tensor(owners)
            self._masks[blocks] = table.to(device=like.device, dtype=like.dtype)
        return self._masks[blocks]


@dataclass(frozen=True, slots=True)
class RoutedLayer:
    """The forward of one of PEFT's layers."""

    layer: Any
    router: RoutedLora

    def __call__(self, x: Tensor) -> Tensor:
        return self.router.forward(self.layer, x)

    @property
    def base(self) -> Any:
        """The layer without adapters."""
        return self.layer.base_layer

    def adapters(self) -> list[LowRank | None]:
        """The matrices of each adapter of the next pass; None where it leaves this layer as it is."""
        layer = self.layer
        return [
            LowRank(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])
            if name in layer.lora_A
            else None
            for name in self.router.names
        ]


def routed(layer: Any) -> RoutedLayer | None:
    """The forward of a layer that runs with an adapter for each token; None for any other layer."""
    forward = vars(layer).get("forward")
    return forward if isinstance(forward, RoutedLayer) else None
