"""Attention over packed tokens: prompts, the branches that grow from them, and responses being decoded.

Tokens of many sequences stand one after another in a single row, without padding: [1, tokens]. A *pass* knows
which of them may see which, and answers for every layer of the model. transformers calls it through its
attention interface, so any model that keeps to that interface can be used as it is.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.segments import Segments

NAME = "hypo_tree"
"""Under this name :func:`attend` is registered with transformers."""

_HARMLESS = frozenset({"position_ids", "cache_position", "position_embeddings"})


@dataclass(frozen=True, slots=True)
class How:
    """What a layer asks of attention.

    Attributes:
        scaling: Factor of the scores.
        window: Keys this far back or further are not seen; None sees all.
        softcap: Scores are squashed to ``softcap * tanh(score / softcap)``; None leaves them.
    """

    scaling: float
    window: int | None = None
    softcap: float | None = None

    def is_plain(self, keys: int) -> bool:
        """Whether nothing but the scaling matters to so many keys."""
        return self.softcap is None and (self.window is None or self.window >= keys)


class Pass(Protocol):
    """Which tokens of a packed row see which."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        """query [1, heads, n, size], key and value [1, kv heads, n, size] -> [1, n, heads, size]."""


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
    """transformers' attention function. With ``tree``, which the model's forward was given, that pass
    answers; without it this is the usual attention under the usual mask.

    Raises:
        TypeError: the layer wants something that packed attention does not offer.
    """
    how = How(query.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    if tree is None:
        return _usual(module, query, key, value, attention_mask, how, dropout, others), None
    foreign = sorted(n for n, v in others.items() if isinstance(v, Tensor) and n not in _HARMLESS)
    if dropout or foreign:
        raise TypeError(f"packed attention cannot serve this layer ({foreign or 'dropout'})")
    return tree.attend(module.layer_idx, query, key, value, how), None


def register() -> None:
    """Make :func:`attend` known to transformers; harmless when done twice."""
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
    how: How,
    dropout: float,
    others: dict[str, Any],
) -> Tensor:
    """As transformers' own function, which ignores the squashing of scores."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if how.softcap is None:
        found: Tensor = sdpa_attention_forward(
            module, query, key, value, mask, scaling=how.scaling, dropout=dropout, **others
        )[0]
        return found
    if mask is not None and mask.dtype is torch.bool:
        mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill_(
            ~mask, torch.finfo(query.dtype).min
        )
    return _capped(query, key, value, how, mask).transpose(1, 2)


class TrunkKeys:
    """What branches need of their prompts.

    Attributes:
        lengths: Tokens of each prompt.
        layers: By layer, the keys and the values of all prompts, [tokens, kv heads, size], with their graph.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def by_prompt(self, layer: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """A layer's keys and values, each cut at the prompts' ends."""
        keys, values = self.layers[layer]
        return _split(keys, self.lengths), _split(values, self.lengths)


class TrunkPass:
    """Prompts beside each other; keys and values of every layer are kept for the branches.

    With gradient checkpointing the graph holds on to its pass. The pass must not hold what holds the graph,
    or nothing would ever be freed; and when a layer runs again, its keys are there already.
    """

    def __init__(self, kept: TrunkKeys) -> None:
        self._lengths, self._kept = kept.lengths, weakref.ref(kept)
        self._segments, self._masks = Segments(self._lengths), _Masks()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        q, k, v = (tokens_of(x) for x in (query, key, value))
        kept = self._kept()
        if kept is not None and layer not in kept.layers:
            kept.layers[layer] = k, v
        if how.is_plain(max(self._lengths)):
            attended = self._segments.attend(q, k, v, None, how.scaling)
            if attended is not None:
                return attended.unsqueeze(0)
        runs = _runs(self._lengths)
        sizes = [count * length for _, count, length in runs]
        parts = zip(*(_split(x, sizes) for x in (q, k, v)), strict=True)
        found = [
            _attention(
                _batch(queries, count),
                _batch(keys, count),
                _batch(values, count),
                how,
                self._masks.get(0, length, how.window, query),
            )
            for (_, count, length), (queries, keys, values) in zip(runs, parts, strict=True)
        ]
        return _row(found)


class BranchPass:
    """Completions beside each other, each seeing its own prompt in a trunk and itself."""

    def __init__(self, trunk: TrunkKeys, prompts: Sequence[int], lengths: Sequence[int]) -> None:
        self._trunk, self._prompts, self._lengths = trunk, list(prompts), list(lengths)
        shapes = [(trunk.lengths[prompt], n) for prompt, n in zip(prompts, lengths, strict=True)]
        self._runs = _runs(shapes)
        self._sizes = [count * length for _, count, (_, length) in self._runs]
        begins = starts(trunk.lengths)
        self._segments = Segments(lengths, [(begins[prompt], trunk.lengths[prompt]) for prompt in prompts])
        self._longest = max(before + length for before, length in shapes)
        self._masks = _Masks()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        q, k, v = (tokens_of(x) for x in (query, key, value))
        if how.is_plain(self._longest):
            attended = self._segments.attend(q, k, v, self._trunk.layers[layer], how.scaling)
            if attended is not None:
                return attended.unsqueeze(0)
        keys, values = _split(k, self._lengths), _split(v, self._lengths)
        trunk_keys, trunk_values = self._trunk.by_prompt(layer)
        found = []
        for (first, count, (before, length)), queries in zip(self._runs, _split(q, self._sizes), strict=True):
            rows = range(first, first + count)
            found.append(
                _attention(
                    _batch(queries, count),
                    _batch(self._behind(trunk_keys, keys, rows), count),
                    _batch(self._behind(trunk_values, values, rows), count),
                    how,
                    self._masks.get(before, length, how.window, query),
                )
            )
        return _row(found)

    def _behind(self, trunk: Sequence[Tensor], own: Sequence[Tensor], rows: range) -> Tensor:
        """Keys (or values) of rows of equal shape, each behind those of its prompt."""
        return torch.cat([piece for row in rows for piece in (trunk[self._prompts[row]], own[row])])


class DecodePass:
    """Responses that grow by a token at a time, all by the same number; without a graph.

    Each has its keys in one place from the start: its prompt's, which end in the same column for all, and
    then its own. Distances between columns are distances between positions.
    """

    def __init__(self, trunk: TrunkKeys, prompts: Sequence[int], capacity: int) -> None:
        lengths = [trunk.lengths[prompt] for prompt in prompts]
        self._at = max(lengths)
        self._keys, self._values = dict[int, Tensor](), dict[int, Tensor]()
        for layer in trunk.layers:
            keys, values = (self._room(found, prompts, capacity) for found in trunk.by_prompt(layer))
            self._keys[layer], self._values[layer] = keys, values
        self._padding: Tensor | None = None
        if min(lengths) < self._at:
            device = next(iter(self._keys.values())).device
            columns = torch.arange(self._at + capacity, device=device)
            hidden = columns < self._at - torch.tensor(lengths, device=device)[:, None]
            mask = torch.zeros(hidden.shape, device=device).masked_fill_(hidden, float("-inf"))
            self._padding = mask[:, None, None]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        rows, heads, size = query.shape[2], query.shape[1], query.shape[3]
        keys, values = self._keys[layer], self._values[layer]
        keys[:, :, self._at] = tokens_of(key)
        values[:, :, self._at] = tokens_of(value)
        end = self._at + 1
        seen = slice(0 if how.window is None else max(0, end - how.window), end)
        grouped = (tokens_of(query) * how.scaling).reshape(rows, key.shape[1], -1, size)
        scores = grouped @ keys[:, :, seen].transpose(-1, -2)
        if how.softcap is not None:
            scores.div_(how.softcap).tanh_().mul_(how.softcap)
        if self._padding is not None:
            scores += self._padding[..., seen]
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return (weights @ values[:, :, seen]).reshape(1, rows, heads, size)

    def advance(self) -> None:
        """All layers have seen the token."""
        self._at += 1

    def keep(self, rows: Tensor) -> None:
        """Drop every response but ``rows`` (indices, in order)."""
        for kept in (self._keys, self._values):
            for layer, tensor in kept.items():
                kept[layer] = tensor.index_select(0, rows)
        if self._padding is not None:
            self._padding = self._padding[rows]

    def _room(self, trunk: Sequence[Tensor], prompts: Sequence[int], capacity: int) -> Tensor:
        """[rows, kv heads, columns, size] with the prompts' keys (or values) in their columns."""
        _, shared, size = trunk[0].shape
        room = trunk[0].new_zeros(len(prompts), shared, self._at + capacity, size)
        for row, prompt in zip(room, prompts, strict=True):
            found = trunk[prompt].detach()
            row[:, self._at - len(found) : self._at] = found.transpose(0, 1)
        return room


def starts(lengths: Sequence[int]) -> list[int]:
    """Where each of the segments begins."""
    found, total = [], 0
    for length in lengths:
        found.append(total)
        total += length
    return found


def _runs(shapes: Sequence[Any]) -> list[tuple[int, int, Any]]:
    """Neighbours of equal shape: (first, count, shape)."""
    runs: list[tuple[int, int, Any]] = []
    for place, shape in enumerate(shapes):
        if runs and runs[-1][2] == shape:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, shape)
        else:
            runs.append((place, 1, shape))
    return runs


def _split(packed: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    """Segments of packed tokens; one operation, so that their gradients are joined by one."""
    return torch.split(packed, list(lengths))


def tokens_of(heads: Tensor) -> Tensor:
    """[1, heads, tokens, size] -> [tokens, heads, size], a view."""
    return heads.squeeze(0).transpose(0, 1)


def _row(parts: Sequence[Tensor]) -> Tensor:
    """Parts [tokens, heads, size] one after another: [1, tokens, heads, size]."""
    return (torch.cat(list(parts)) if len(parts) > 1 else parts[0]).unsqueeze(0)


def _batch(packed: Tensor, count: int) -> Tensor:
    """[count * n, heads, size] -> [count, heads, n, size], a view."""
    return packed.reshape(count, -1, *packed.shape[1:]).transpose(1, 2)


class _Masks:
    """Additive masks [n, before + n] for n tokens behind ``before`` others, made once a shape."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int | None], Tensor | None] = {}

    def get(self, before: int, length: int, window: int | None, like: Tensor) -> Tensor | None:
        """The mask, or None where the plain causal one serves."""
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


def _attention(q: Tensor, k: Tensor, v: Tensor, how: How, mask: Tensor | None) -> Tensor:
    """[count, heads, n, size] and keys, values [count, kv heads, m, size] -> [count * n, heads, size]."""
    if how.softcap is not None:
        found = _capped(q, k, v, how, mask)
    else:
        found = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            scale=how.scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
    return found.transpose(1, 2).flatten(0, 1)


def _capped(q: Tensor, k: Tensor, v: Tensor, how: How, mask: Tensor | None) -> Tensor:
    """Attention with squashed scores (Gemma 2), which the fused kernels do not offer."""
    assert how.softcap is not None
    if mask is None:
        mask = _mask(k.shape[-2] - q.shape[-2], q.shape[-2], None, q)
    q = q.reshape(q.shape[0], k.shape[1], -1, *q.shape[2:])
    scores = (q @ k[:, :, None].transpose(-1, -2)) * how.scaling
    scores = (scores / how.softcap).tanh() * how.softcap
    weights = (scores + (mask if mask.dim() == 2 else mask[:, :, None])).softmax(dim=-1, dtype=torch.float32)
    return (weights.to(v.dtype) @ v[:, :, None]).flatten(1, 2)
