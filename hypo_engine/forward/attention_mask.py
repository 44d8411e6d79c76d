"""Attention masks of packed rows: prompts, completions of shared prompts, and responses being decoded.

A pass computes attention for every layer of the model (:class:`hypo_engine.forward.interface.Pass`).
"""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypo_engine.cpu.attention import Segments
from hypo_engine.forward.flex import FlexSegments
from hypo_engine.forward.interface import AttentionOptions, Masks, batched_attention


class PrefixKeys:
    """The keys and values of prompts, which their completions attend to.

    Attributes:
        lengths: Tokens of each prompt.
        layers: Keys and values of all prompts by layer, [tokens, kv heads, size], with autograd.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def by_prompt(self, layer: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """A layer's keys and values, each split by prompt."""
        keys, values = self.layers[layer]
        return _split(keys, self.lengths), _split(values, self.lengths)


class PrefixPass:
    """Prompts in one row; the keys and values of every layer are kept for the completions."""

    def __init__(self, kept: PrefixKeys) -> None:
        self._row = _Row(kept.lengths, [None] * len(kept.lengths), [])
        self._keeper = _Keeper(kept)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        q, k, v = (tokens_of(x) for x in (query, key, value))
        self._keeper.keep(layer, k, v)
        return self._row.attend(q, k, v, None, options)


class CompletionPass:
    """Completions in one row; each attends to the kept keys of its prompt and to itself."""

    def __init__(self, prefix: PrefixKeys, prompts: Sequence[int], lengths: Sequence[int]) -> None:
        self._prefix, self._row = prefix, _Row(lengths, prompts, prefix.lengths)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        q, k, v = (tokens_of(x) for x in (query, key, value))
        return self._row.attend(q, k, v, self._prefix.layers[layer], options)


class TreePass:
    """Prompts followed by their completions in one row; the prompts' keys and values are kept as well."""

    def __init__(self, kept: PrefixKeys, prompts: Sequence[int], lengths: Sequence[int]) -> None:
        everything = [*kept.lengths, *lengths]
        self._row = _Row(everything, [*([None] * len(kept.lengths)), *prompts], everything)
        self._keeper = _Keeper(kept)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        q, k, v = (tokens_of(x) for x in (query, key, value))
        self._keeper.keep(layer, k, v)
        return self._row.attend(q, k, v, (k, v), options)


class _Keeper:
    """Stores the prompts' keys and values while their owner is alive.

    With gradient checkpointing the graph references its pass, so a strong reference from the pass back to
    the graph would be a cycle that frees neither. When a layer is recomputed, its keys are already stored.
    """

    def __init__(self, kept: PrefixKeys) -> None:
        self._kept, self._tokens = weakref.ref(kept), sum(kept.lengths)

    def keep(self, layer: int, key: Tensor, value: Tensor) -> None:
        kept = self._kept()
        if kept is not None and layer not in kept.layers:
            kept.layers[layer] = key[: self._tokens], value[: self._tokens]


class _Row:
    """The segments of a row; each is causal and attends to its whole prompt if it has one."""

    def __init__(self, lengths: Sequence[int], prompts: Sequence[int | None], prefix: Sequence[int]) -> None:
        """prompts: The prefix segment that each segment follows; prefix: lengths of the prefix segments."""
        self._lengths, self._prompts, self._prefix = list(lengths), list(prompts), list(prefix)
        begins = starts(prefix)
        before = [(0, 0) if p is None else (begins[p], prefix[p]) for p in prompts]
        shapes = [(behind, length) for (_, behind), length in zip(before, lengths, strict=True)]
        self._runs = _runs(shapes)
        self._longest = max(behind + length for behind, length in shapes)
        self._segments = Segments(lengths, before if any(behind for _, behind in before) else None)
        self._masks = Masks()
        self._flex: FlexSegments | None = None

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: tuple[Tensor, Tensor] | None, options: AttentionOptions
    ) -> Tensor:
        """q [tokens, heads, size], k and v [tokens, kv heads, size], also of the prefix -> [1, *q.shape].

        The size of v may differ, and is then that of the result.
        """
        elsewhere = prefix if prefix is not None and prefix[0] is not k else None  # not in this row
        if options.is_plain(self._longest):
            attended = self._segments.attend(q, k, v, elsewhere, options.scaling, half=options.half)
            if attended is not None:
                return attended.unsqueeze(0)
        if q.is_cuda and FlexSegments.is_usable:
            attended = self._in_one_kernel(q, k, v, elsewhere, options)
            if attended is not None:
                return attended.unsqueeze(0)
        sizes = [count * length for _, count, (_, length) in self._runs]
        theirs = prefix or (None, None)
        keys, values = (
            self._with_prompts(own, sizes, there) for own, there in zip((k, v), theirs, strict=True)
        )
        found = [
            batched_attention(
                _batch(queries, count),
                _batch(keys[place], count),
                _batch(values[place], count),
                options,
                self._masks.get(before, length, options.window, q),
            )
            for place, ((_, count, (before, length)), queries) in enumerate(
                zip(self._runs, _split(q, sizes), strict=True)
            )
        ]
        return (torch.cat(found) if len(found) > 1 else found[0]).unsqueeze(0)

    def _in_one_kernel(
        self, q: Tensor, k: Tensor, v: Tensor, before: tuple[Tensor, Tensor] | None, options: AttentionOptions
    ) -> Tensor | None:
        """As :meth:`attend`, by flex_attention: [tokens, heads, size] or None; ``before``: another row's."""
        if self._flex is None:
            lengths = None if before is None else self._prefix
            self._flex = FlexSegments(self._lengths, self._prompts, lengths, device=q.device)
        if before is not None:
            k, v = (torch.cat([there, own]) for there, own in zip(before, (k, v), strict=True))
        return self._flex.attend(q, k, v, options)

    def _with_prompts(self, own: Tensor, sizes: Sequence[int], prefix: Tensor | None) -> list[Tensor]:
        """For each run of equally shaped segments, their keys (or values), each after those of its prompt."""
        runs = list(_split(own, sizes))
        if prefix is None:
            return runs
        pieces, prompts = _split(own, self._lengths), _split(prefix, self._prefix)
        for place, (first, count, (before, _)) in enumerate(self._runs):
            if before:
                rows = range(first, first + count)
                runs[place] = torch.cat(
                    [piece for row in rows for piece in (prompts[self._prompts[row] or 0], pieces[row])]
                )
        return runs


class DecodePass:
    """Responses that all grow by the same number of tokens at a time; without autograd.

    The key buffer is allocated at full length. The keys of all prompts end in the same column, followed by
    each response's own, so the distance between columns is the distance between positions.
    """

    def __init__(self, prefix: PrefixKeys, prompts: Sequence[int], capacity: int) -> None:
        lengths = [prefix.lengths[prompt] for prompt in prompts]
        self._at = max(lengths)
        self._keys, self._values = dict[int, Tensor](), dict[int, Tensor]()
        for layer in prefix.layers:
            keys, values = (self._room(found, prompts, capacity) for found in prefix.by_prompt(layer))
            self._keys[layer], self._values[layer] = keys, values
        self._padding: Tensor | None = None
        if min(lengths) < self._at:
            device = next(iter(self._keys.values())).device
            columns = torch.arange(self._at + capacity, device=device)
            hidden = columns < self._at - torch.tensor(lengths, device=device)[:, None]
            mask = torch.zeros(hidden.shape, device=device).masked_fill_(hidden, float("-inf"))
            self._padding = mask[:, None, None]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        rows, heads, size = query.shape[2], query.shape[1], query.shape[3]
        keys, values = self._keys[layer], self._values[layer]
        keys[:, :, self._at] = tokens_of(key)
        values[:, :, self._at] = tokens_of(value)
        end = self._at + 1
        seen = slice(0 if options.window is None else max(0, end - options.window), end)
        grouped = (tokens_of(query) * options.scaling).reshape(rows, key.shape[1], -1, size)
        scores = grouped @ keys[:, :, seen].transpose(-1, -2)
        if options.softcap is not None:
            scores.div_(options.softcap).tanh_().mul_(options.softcap)
        if self._padding is not None:
            scores += self._padding[..., seen]
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return (weights @ values[:, :, seen]).reshape(1, rows, heads, -1)

    def advance(self) -> None:
        """Move to the next column, once all layers have run."""
        self._at += 1

    def keep(self, rows: Tensor) -> None:
        """Drop every response but ``rows`` (ascending indices)."""
        for kept in (self._keys, self._values):
            for layer, tensor in kept.items():
                kept[layer] = tensor.index_select(0, rows)
        if self._padding is not None:
            self._padding = self._padding[rows]

    def _room(self, prefix: Sequence[Tensor], prompts: Sequence[int], capacity: int) -> Tensor:
        """A buffer [rows, kv heads, columns, size] with the prompts' keys (or values) in place."""
        _, shared, size = prefix[0].shape
        room = prefix[0].new_zeros(len(prompts), shared, self._at + capacity, size)
        for row, prompt in zip(room, prompts, strict=True):
            found = prefix[prompt].detach()
            row[:, self._at - len(found) : self._at] = found.transpose(0, 1)
        return room


def starts(lengths: Sequence[int]) -> list[int]:
    """The start of each segment."""
    found, total = [], 0
    for length in lengths:
        found.append(total)
        total += length
    return found


def _runs(shapes: Sequence[Any]) -> list[tuple[int, int, Any]]:
    """Runs of equal neighbouring shapes: (first, count, shape)."""
    runs: list[tuple[int, int, Any]] = []
    for place, shape in enumerate(shapes):
        if runs and runs[-1][2] == shape:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, shape)
        else:
            runs.append((place, 1, shape))
    return runs


def _split(packed: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    """Split packed tokens into segments in one operation, so that one operation joins the gradients."""
    return torch.split(packed, list(lengths))


def tokens_of(heads: Tensor) -> Tensor:
    """[1, heads, tokens, size] -> [tokens, heads, size], a view."""
    return heads.squeeze(0).transpose(0, 1)


def _batch(packed: Tensor, count: int) -> Tensor:
    """[count * n, heads, size] -> [count, heads, n, size], a view."""
    return packed.reshape(count, -1, *packed.shape[1:]).transpose(1, 2)
