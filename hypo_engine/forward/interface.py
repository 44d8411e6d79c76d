"""Attention over packed tokens, through transformers' attention interface.

The tokens of many sequences are concatenated in a single row without padding: [1, tokens]. A *pass*
(:mod:`hypo_engine.forward.attention_mask`) defines the attention mask and computes attention for every layer.
Models that use the interface need no change.
"""

from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "hypo_tree"
"""The name under which :func:`attend` is registered with transformers."""

_HARMLESS = frozenset({"position_ids", "cache_position", "position_embeddings"})


@dataclass(frozen=True, slots=True)
class AttentionOptions:
    """The attention options of one layer.

    Attributes:
        scaling: Factor of the scores.
        window: Length of a sliding window in tokens; None is unlimited.
        softcap: Scores are soft-capped to ``softcap * tanh(score / softcap)``; None leaves them.
        half: Whether the layer's matrices are bfloat16, whatever its activations are.
    """

    scaling: float
    window: int | None = None
    softcap: float | None = None
    half: bool = False

    def is_plain(self, keys: int) -> bool:
        """Whether attention over this many keys needs neither a window nor soft-capping."""
        return self.softcap is None and (self.window is None or self.window >= keys)


class Pass(Protocol):
    """The attention mask of a packed row, and attention under it."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        """query [1, heads, n, size], key and value [1, kv heads, n, size] -> [1, n, heads, size].

        The size of value may differ from that of query and key, and is then that of the result.
        """


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    tree: Pass | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Compute attention as transformers' attention function.

    Raises:
        TypeError: the layer uses an option that packed attention does not support.
    """
    options = AttentionOptions(
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        sliding_window,
        softcap,
        half=any(weight.dtype == torch.bfloat16 for weight in islice(module.parameters(), 1)),
    )
    if tree is None:
        return _usual(module, query, key, value, attention_mask, options, dropout, others), None
    foreign = sorted(n for n, v in others.items() if isinstance(v, Tensor) and n not in _HARMLESS)
    if others.get("is_causal") is False:
        foreign.append("is_causal")
    if dropout or foreign:
        raise TypeError(f"packed attention cannot serve this layer ({foreign or 'dropout'})")
    return tree.attend(module.layer_idx, query, key, value, options), None


def register() -> None:
    """Register :func:`attend` with transformers; idempotent."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def _usual(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    options: AttentionOptions,
    dropout: float,
    others: dict[str, Any],
) -> Tensor:
    """transformers' SDPA attention, with soft-capping added."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if options.softcap is None:
        found: Tensor = sdpa_attention_forward(
            module, query, key, value, mask, scaling=options.scaling, dropout=dropout, **others
        )[0]
        return found
    if mask is not None and mask.dtype is torch.bool:
        mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill_(
            ~mask, torch.finfo(query.dtype).min
        )
    return _capped(query, key, value, options, mask).transpose(1, 2)


class Masks:
    """Additive masks [n, before + n] for n tokens after ``before`` others, cached by shape."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int | None], Tensor | None] = {}

    def get(self, before: int, length: int, window: int | None, like: Tensor) -> Tensor | None:
        """The mask, or None if the plain causal mask applies."""
        window = None if window is None or window >= before + length else window
        key = (before, length, window)
        if key not in self._made:
            self._made[key] = None if before == 0 and window is None else _mask(*key, like)
        return self._made[key]


def _mask(before: int, length: int, window: int | None, like: Tensor) -> Tensor:
    query = torch.arange(before, before + length, device=like.device)[:, None]
    key = torch.arange(before + length, device=like.device)
    hidden = key > query
    if window is not None:
        hidden |= key <= query - window
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))


def batched_attention(
    q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions, mask: Tensor | None
) -> Tensor:
    """[count, heads, n, size], keys and values [count, kv heads, m, size] -> [count * n, heads, size]."""
    if options.softcap is not None:
        found = _capped(q, k, v, options, mask)
    else:
        found = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            scale=options.scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
    return found.transpose(1, 2).flatten(0, 1)


def _capped(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions, mask: Tensor | None) -> Tensor:
    """Attention with soft-capped scores (Gemma 2), which the fused kernels do not support."""
    assert options.softcap is not None
    if mask is None:
        mask = _mask(k.shape[-2] - q.shape[-2], q.shape[-2], None, q)
    q = q.reshape(q.shape[0], k.shape[1], -1, *q.shape[2:])
    scores = (q @ k[:, :, None].transpose(-1, -2)) * options.scaling
    scores = (scores / options.softcap).tanh() * options.softcap
    weights = (scores + (mask if mask.dim() == 2 else mask[:, :, None])).softmax(dim=-1, dtype=torch.float32)
    return (weights.to(v.dtype) @ v[:, :, None]).flatten(1, 2)
