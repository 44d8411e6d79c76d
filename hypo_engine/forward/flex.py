"""Attention over packed segments in one kernel on a GPU, through torch's flex_attention.

A block mask says which blocks of keys a block of queries reads, so the others cost nothing. Windows and
soft-capping are part of the kernel.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from hypo_engine.forward.interface import AttentionOptions

_NOBODY = -1


class FlexSegments:
    """The segments of a packed row; each is causal and reads its whole prompt if it has one.

    Attributes:
        is_usable: Whether the kernel can be used on this machine; False after it failed once.
    """

    is_usable = True

    def __init__(
        self,
        lengths: Sequence[int],
        prompts: Sequence[int | None],
        prefix: Sequence[int] | None,
        *,
        device: Any,
    ) -> None:
        """Describe a row.

        Args:
            lengths: Tokens of each segment.
            prompts: The segment of the prefix that each segment follows.
            prefix: Tokens of each segment of the prefix, whose keys come before those of the row; None if
                the row itself is the prefix.
        """
        known = lengths if prefix is None else prefix
        before = [0 if prompt is None else known[prompt] for prompt in prompts]
        own = range(len(lengths)) if prefix is None else range(len(prefix), len(prefix) + len(lengths))
        theirs = [_NOBODY if prompt is None else prompt for prompt in prompts]
        self._own, self._prompt = (_repeated(values, lengths, device) for values in (own, theirs))
        self._position = _positions(lengths, before, device)
        self._key_segment, self._key_position = self._own, self._position
        if prefix is not None:
            there = (
                _repeated(range(len(prefix)), prefix, device),
                _positions(prefix, [0] * len(prefix), device),
            )
            self._key_segment = torch.cat([there[0], self._own])
            self._key_position = torch.cat([there[1], self._position])
        self._masks: dict[int | None, Any] = {}

    def attend(self, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions) -> Tensor | None:
        """Attention of each token to its prompt and to its own segment.

        Args:
            q: [tokens, heads, size].
            k, v: [prefix tokens + tokens, kv heads, size].

        Returns:
            [tokens, heads, size]; None if the kernel cannot be used here.
        """
        try:
            found = _kernel()(
                *(x.transpose(0, 1)[None] for x in (q, k, v)),
                score_mod=None if options.softcap is None else _softcap(options.softcap),
                block_mask=self._mask(options.window),
                scale=options.scaling,
                enable_gqa=q.shape[1] != k.shape[1],
            )
        except RuntimeError:  # no Triton, or a head size or a data type that it does not compile
            type(self).is_usable = False
            return None
        attended: Tensor = found[0].transpose(0, 1)
        return attended

    def _mask(self, window: int | None) -> Any:
        """The block mask, computed once for all layers with the same window."""
        from torch.nn.attention.flex_attention import create_block_mask

        if window not in self._masks:
            sizes = len(self._position), len(self._key_position)
            self._masks[window] = create_block_mask(
                self._visible(window), None, None, *sizes, device=self._position.device
            )
        return self._masks[window]

    def _visible(self, window: int | None) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """Whether a query reads a key, by their indices."""
        own, prompt, position = self._own, self._prompt, self._position
        key_segment, key_position = self._key_segment, self._key_position

        def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            segment, distance = key_segment[key], position[query] - key_position[key]
            seen = ((segment == own[query]) | (segment == prompt[query])) & (distance >= 0)
            return seen if window is None else seen & (distance < window)

        return visible


def _repeated(values: Sequence[int], lengths: Sequence[int], device: Any) -> Tensor:
    counts = torch.tensor(list(lengths), dtype=torch.int64)
    return torch.tensor(list(values), dtype=torch.int64).repeat_interleave(counts).to(device)


def _positions(lengths: Sequence[int], before: Sequence[int], device: Any) -> Tensor:
    """The position of each token in its text."""
    parts = [torch.arange(first, first + length) for first, length in zip(before, lengths, strict=True)]
    return torch.cat([torch.empty(0, dtype=torch.int64), *parts]).to(device)


@cache
def _softcap(cap: float) -> Callable[..., Tensor]:
    """cap * tanh(score / cap); cached, as a new function would be compiled anew."""

    def capped(score: Tensor, *_indices: Tensor) -> Tensor:
        return cap * torch.tanh(score / cap)

    return capped


@cache
def _kernel() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
