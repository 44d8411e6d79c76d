"""LoRA with an adapter per token, for answering with several adapters in one batch; inference only."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hypo_engine.errors import ModelError
from hypo_engine.forward.peft_layers import adapted_layers


class RoutedLora:
    """Runs each token of a packed row with its own adapter."""

    def __init__(self, model: Any) -> None:
        self._groups: list[tuple[str, Tensor]] = []
        self._tokens = 0
        self._layers = adapted_layers(model)
        for layer in self._layers:
            layer.forward = partial(self._forward, layer)

    def release(self) -> None:
        """Restore the forward of PEFT's layers."""
        for layer in self._layers:
            del layer.forward

    def route(self, adapters: Sequence[str | None], device: torch.device) -> None:
        """Set the adapter of every token for the next forward pass; None is the base model."""
        self._tokens = len(adapters)
        tokens: dict[str, list[int]] = {}
        for token, adapter in enumerate(adapters):
            if adapter is not None:
                tokens.setdefault(adapter, []).append(token)
        self._groups = [(name, torch.tensor(found, device=device)) for name, found in tokens.items()]

    def _forward(self, layer: Any, x: Tensor) -> Tensor:
        found: Tensor = layer.base_layer(x)
        rows, results = x.reshape(-1, x.shape[-1]), found.view(-1, found.shape[-1])
        if self._groups and len(rows) != self._tokens:
            raise ModelError(
                "This architecture runs an adapted layer on a part of the tokens, so adapters cannot answer "
                "side by side here; export the run and load it by itself."
            )
        for name, tokens in self._groups:
            if name in layer.lora_A:
                a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
                update = (rows[tokens].to(a.dtype) @ a.t()) @ b.t()
                results.index_add_(0, tokens, (update * layer.scaling[name]).to(results.dtype))
        return found
