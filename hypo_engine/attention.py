"""Attention over packed tokens: prompts, the branches that grow from them, and responses being decoded.

Tokens of many sequences stand one after another in a single row, without padding: [1, tokens]. A *pass* knows
which of them may see which, and answers for every layer of the model. transformers calls it through its
attention interface, so any model that keeps to that interface can be used as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

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


class TrunkPass:
    """Prompts beside each other; keys and values of every layer are kept for the branches.

    Attributes:
        lengths: Tokens of each prompt.
        keys: By layer and prompt, [tokens, kv heads, size], with their graph; ``values`` likewise.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self.keys: dict[int, tuple[Tensor, ...]] = {}
        self.values: dict[int, tuple[Tensor, ...]] = {}
        self._masks = _Masks()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        q, k, v = (_tokens(x) for x in (query, key, value))
        self.keys[layer], self.values[layer] = _split(k, self.lengths), _split(v, self.lengths)
        runs = _runs(self.lengths)
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

    def __init__(self, trunk: TrunkPass, prompts: Sequence[int], lengths: Sequence[int]) -> None:
        self._trunk, self._prompts, self._lengths = trunk, list(prompts), list(lengths)
        shapes = [(trunk.lengths[prompt], n) for prompt, n in zip(prompts, lengths, strict=True)]
        self._runs = _runs(shapes)
        self._sizes = [count * length for _, count, (_, length) in self._runs]
        self._masks = _Masks()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        q, k, v = (_tokens(x) for x in (query, key, value))
        keys, values = _split(k, self._lengths), _split(v, self._lengths)
        found = []
        for (first, count, (before, length)), queries in zip(self._runs, _split(q, self._sizes), strict=True):
            rows = range(first, first + count)
            found.append(
                _attention(
                    _batch(queries, count),
                    _batch(self._behind(self._trunk.keys[layer], keys, rows), count),
                    _batch(self._behind(self._trunk.values[layer], values, rows), count),
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

    The keys of a prompt are kept once, however many responses it has; those of the responses have their
    place from the start.
    """

    def __init__(self, trunk: TrunkPass, prompts: Sequence[int], capacity: int) -> None:
        self._trunk_keys: dict[int, Tensor] = {}
        self._trunk_values: dict[int, Tensor] = {}
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._capacity, self.fed = capacity, 0
        used = sorted(set(prompts))
        self._prompts = [used.index(prompt) for prompt in prompts]
        lengths = [trunk.lengths[prompt] for prompt in used]
        for layer in trunk.keys:
            self._trunk_keys[layer] = _stack([trunk.keys[layer][p].detach() for p in used])
            self._trunk_values[layer] = _stack([trunk.values[layer][p].detach() for p in used])
        device = next(iter(self._trunk_keys.values())).device
        self._lengths = torch.tensor(lengths, device=device)
        self._place()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        rows, heads, size = query.shape[2], query.shape[1], query.shape[3]
        shared = key.shape[1]
        q = (query[0].transpose(0, 1) * how.scaling).reshape(rows, shared, heads // shared, size)
        own_keys, own_values = self._append(layer, key, value, how.window)
        scores = torch.cat([self._against_prompts(q, layer), q @ own_keys.transpose(-1, -2)], dim=-1)
        if how.softcap is not None:
            scores = (scores / how.softcap).tanh_().mul_(how.softcap)
        width = self._trunk_keys[layer].shape[2]
        if (hidden := self._hidden(width, how.window)) is not None:
            scores[..., :width] += hidden
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        found = self._of_prompts(weights[..., :width], layer) + weights[..., width:] @ own_values
        return found.reshape(1, rows, heads, size)

    def advance(self) -> None:
        """All layers have seen the token."""
        self.fed += 1
        self._masks.clear()

    def keep(self, rows: Tensor) -> None:
        """Drop every response but ``rows`` (indices, in order), and prompts that have none left."""
        for own in (self._keys, self._values):
            for layer, tensor in own.items():
                own[layer] = tensor.index_select(0, rows)
        prompts = [self._prompts[row] for row in rows.tolist()]
        used = sorted(set(prompts))
        self._prompts = [used.index(prompt) for prompt in prompts]
        if len(used) < len(self._lengths):
            kept = torch.tensor(used, device=rows.device)
            self._lengths = self._lengths[kept]
            for shared in (self._trunk_keys, self._trunk_values):
                for layer, tensor in shared.items():
                    shared[layer] = tensor.index_select(0, kept)
        self._place()

    def _place(self) -> None:
        """Give each response a place in a grid [prompts, most responses of a prompt]."""
        seen = [0] * (max(self._prompts) + 1)
        slots = []
        for prompt in self._prompts:
            slots.append(seen[prompt])
            seen[prompt] += 1
        self._grid = (len(seen), max(seen))
        device = self._lengths.device
        places = [prompt * self._grid[1] + slot for prompt, slot in zip(self._prompts, slots, strict=True)]
        full = places == list(range(self._grid[0] * self._grid[1]))
        self._places = None if full else torch.tensor(places, device=device)
        self._masks: dict[int | None, Tensor | None] = {}
        self._prompts_of_rows = torch.tensor(self._prompts, device=device)

    def _append(self, layer: int, key: Tensor, value: Tensor, window: int | None) -> tuple[Tensor, Tensor]:
        if layer not in self._keys:
            shape = (key.shape[2], key.shape[1], self._capacity, key.shape[3])
            self._keys[layer], self._values[layer] = key.new_empty(shape), value.new_empty(shape)
        keys, values = self._keys[layer], self._values[layer]
        keys[:, :, self.fed] = key[0].transpose(0, 1)
        values[:, :, self.fed] = value[0].transpose(0, 1)
        seen = slice(0 if window is None else max(0, self.fed + 1 - window), self.fed + 1)
        return keys[:, :, seen], values[:, :, seen]

    def _hidden(self, width: int, window: int | None) -> Tensor | None:
        """[rows, 1, 1, width]: minus infinity on padding, and on what a window has left behind."""
        if window not in self._masks:
            places = torch.arange(width, device=self._lengths.device)
            hidden = places >= self._lengths[:, None]
            if window is not None:
                hidden |= places <= (self._lengths + self.fed - window)[:, None]
            mask = torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, float("-inf"))
            self._masks[window] = mask[self._prompts_of_rows, None, None] if bool(hidden.any()) else None
        return self._masks[window]

    def _against_prompts(self, q: Tensor, layer: int) -> Tensor:
        keys = self._trunk_keys[layer]
        prompts, slots = self._grid
        _, shared, group, size = q.shape
        grid = self._to_grid(q).reshape(prompts, slots, shared, group, size).transpose(1, 2)
        scores = grid.reshape(prompts, shared, slots * group, size) @ keys.transpose(-1, -2)
        scores = scores.view(prompts, shared, slots, group, -1).transpose(1, 2)
        return self._from_grid(scores.reshape(prompts * slots, shared, group, -1))

    def _of_prompts(self, weights: Tensor, layer: int) -> Tensor:
        values = self._trunk_values[layer]
        prompts, slots = self._grid
        _, shared, group, width = weights.shape
        grid = self._to_grid(weights).reshape(prompts, slots, shared, group, width).transpose(1, 2)
        found = grid.reshape(prompts, shared, slots * group, width) @ values
        found = found.view(prompts, shared, slots, group, -1).transpose(1, 2)
        return self._from_grid(found.reshape(prompts * slots, shared, group, -1))

    def _to_grid(self, rows: Tensor) -> Tensor:
        if self._places is None:
            return rows
        grid = rows.new_zeros(self._grid[0] * self._grid[1], *rows.shape[1:])
        return grid.index_copy_(0, self._places, rows)

    def _from_grid(self, grid: Tensor) -> Tensor:
        return grid if self._places is None else grid.index_select(0, self._places)


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


def _tokens(heads: Tensor) -> Tensor:
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


def _stack(rows: Sequence[Tensor]) -> Tensor:
    """[tokens, heads, size] of unequal length -> [rows, heads, longest, size], zero behind the end."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True).transpose(1, 2).contiguous()
