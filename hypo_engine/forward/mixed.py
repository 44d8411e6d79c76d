"""bfloat16 weights with float32 activations, for a frozen model on a CPU.

Only the matrices of linear layers and the embedding table stay bfloat16. Activations are rounded for each
product, so norms, rotary positions and LoRA's sums are those of a float32 model, and use the same kernels.
That is closer to float32 than bfloat16 activations, and on a processor that multiplies bfloat16 faster it is
as fast. Where the processor has AMX, attention's products and what a gate multiplies are rounded too
(:mod:`.interface`, :mod:`.mixed_lora`).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hypo_engine.cpu import bf16_gemm
from hypo_engine.cpu.bf16_gemm import product, rounded
from hypo_engine.forward.trial import MODEL_ERRORS, plain_logits, try_tokens

_LINEAR_SHARE = 0.9
"""Least share of a model's numbers in matrices that may stay bfloat16; the others double."""


def keep_activations_float(model: Any) -> bool:
    """Make a frozen bfloat16 model on a CPU compute with float32 activations, in place.

    Layers of other kinds than linear ones and embeddings become float32 altogether.

    Returns:
        False for a model of which these would be a large part, or that reads a layer's weight past its
        forward. It is left as it was.
    """
    layers: list[Any] = [module for module in model.modules() if type(module) is nn.Linear]
    tables: list[Any] = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    narrow = {id(module.weight): module.weight.numel() for module in (*layers, *tables)}
    if sum(narrow.values()) < _LINEAR_SHARE * sum(p.numel() for p in model.parameters()):
        return False
    tensors = [x for x in (*model.parameters(), *model.buffers()) if x.dtype == torch.bfloat16]
    before = [(x, x.data) for x in tensors if id(x) not in narrow]
    for layer in layers:
        layer.forward = MixedLinear(layer)
    for table in tables:
        table.forward = _MixedEmbedding(table)
    for tensor, half in before:
        tensor.data = half.float()
    try:
        plain_logits(model, try_tokens(model, 3))
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except MODEL_ERRORS:
        for module in (*layers, *tables):
            del module.forward
        for tensor, half in before:
            tensor.data = half
        return False
    return True


def has_float_activations(model: Any) -> bool:
    """Whether the hidden states of a model are float32."""
    table = model.get_input_embeddings()
    return table.weight.dtype == torch.float32 or isinstance(vars(table).get("forward"), _MixedEmbedding)


class MixedLinear:
    """The forward of a frozen linear layer with a bfloat16 weight, on float32 activations."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        weight, bias = self.layer.weight, self.layer.bias
        if weight.dtype == torch.float32:  # during a trial
            return nn.functional.linear(x, weight, bias)
        if torch.is_grad_enabled() and x.requires_grad:
            found: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
            return found
        return bf16_gemm.linear(x, weight, bias)


class _MixedEmbedding:
    def __init__(self, table: nn.Embedding) -> None:
        self._table = table

    def __call__(self, ids: Tensor) -> Tensor:
        return type(self._table).forward(self._table, ids).float()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return bf16_gemm.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        rows = rounded(upstream.reshape(-1, upstream.shape[-1]))
        return product([(rows, weight.t())]).view(*upstream.shape[:-1], -1), None, None
