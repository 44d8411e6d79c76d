"""Attention over packed segments in C: float32 tensors on a CPU, no window, no soft-capping.

Products are float32 (attention.c), or bfloat16 with float32 sums where the processor has AMX
(attention_bf16.c), for a model whose matrices are bfloat16.

Where it does not apply, :mod:`hypo_engine.forward.interface` uses torch's kernels. Those need the keys of
each completion after a copy of its prompt's keys, repeated for each query head, and save all of that for the
backward pass.
"""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, byref, c_float, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.pool import empty, empty_like

_INPUTS = ("queries", "keys", "values", "prefix_keys", "prefix_values")
_POINTERS = (*_INPUTS, "found", "sums", "upstream", *(f"of_{name}" for name in _INPUTS), "workspace")


class _Attention(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("segments", "heads", "kv_heads", "size")),
        *((name, c_void_p) for name in ("begins", "lengths", "prompts", "before", "parts")),
        ("scaling", c_float),
        *((name, c_void_p) for name in _POINTERS),
    ]


class Segments:
    """The segments of a packed row, and the part of the prefix that is each segment's prompt.

    Attributes:
        parts: Prefix tokens summed over the segments that attend to them; each segment has its own share of
            the gradients.
    """

    def __init__(self, lengths: Sequence[int], prompts: Sequence[tuple[int, int]] | None = None) -> None:
        """``prompts``: for each segment, the offset of its prompt in the prefix and its length."""
        places = list(prompts) if prompts is not None else [(0, 0)] * len(lengths)
        before = [length for _, length in places]
        ends = torch.tensor(before).cumsum(0).tolist()
        self.parts: int = ends[-1]
        self._prompts = places if prompts is not None else []
        begins = torch.tensor(list(lengths)).cumsum(0) - torch.tensor(list(lengths))
        parts = [end - length for end, length in zip(ends, before, strict=True)]
        rows = [begins.tolist(), list(lengths), [start for start, _ in places], before, parts]
        self._table = torch.tensor(rows, dtype=torch.int64)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        prefix: tuple[Tensor, Tensor] | None,
        scaling: float,
        *,
        half: bool = False,
    ) -> Tensor | None:
        """Causal attention of each token to its segment's prompt and to its own segment.

        Args:
            query: [tokens, heads, size].
            key, value: [tokens, kv heads, size].
            prefix: The prompts' keys and values, [prefix tokens, kv heads, size]; None without prompts, or if
                they are segments of this row.
            half: Whether products may be bfloat16.

        Returns:
            [tokens, heads, size]; None if the C kernel does not apply, as to values of another size.
        """
        tensors = query, key, value, *(prefix or (None, None))
        c = _library(half=half)
        given = [x for x in tensors if x is not None]
        if c is None or any(x.dtype != torch.float32 or x.device.type != "cpu" for x in given):
            return None
        if value.shape != key.shape or query.shape[-1] != key.shape[-1] or query.shape[1] % key.shape[1]:
            return None
        inputs = [None if x is None else x.contiguous() for x in tensors]
        found: Tensor = _Attend.apply(*inputs, self, scaling, c)  # type: ignore[no-untyped-call]
        return found

    def run(self, c: ctypes.CDLL, name: str, scaling: float, tensors: dict[str, Tensor]) -> None:
        """Call a function of a library; the tensors are named as the members of attention.h's struct."""
        query, key = tensors["queries"], tensors["keys"]
        threads = torch.get_num_threads()
        table = [row.data_ptr() for row in self._table]
        sizes = self._table.shape[1], query.shape[1], key.shape[1], query.shape[2]
        given = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        state = _Attention(*sizes, *table, scaling, **given)
        measure = c.hypo_segments_workspace
        measure.restype = c_int64
        workspace = empty(measure(byref(state), threads))
        state.workspace = workspace.data_ptr()
        getattr(c, name)(byref(state), threads)

    def join(self, parts: Tensor, total: Tensor) -> Tensor:
        """Add the segments' shares [parts, ...] to the prefix's gradient in place, in a fixed order."""
        begin = 0
        for start, length in self._prompts:
            total[start : start + length] += parts[begin : begin + length]
            begin += length
        return total


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        prefix_key: Tensor | None,
        prefix_value: Tensor | None,
        segments: Segments,
        scaling: float,
        c: ctypes.CDLL,
    ) -> Tensor:
        prefix = () if prefix_key is None or prefix_value is None else (prefix_key, prefix_value)
        found, sums = empty_like(query), query.new_empty(query.shape[:2])
        named = _named(query, key, value, prefix) | {"found": found, "sums": sums}
        segments.run(c, "hypo_attend", scaling, named)
        ctx.save_for_backward(query, key, value, *prefix, found, sums)
        ctx.segments, ctx.scaling, ctx.c = segments, scaling, c
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *prefix, found, sums = ctx.saved_tensors
        segments: Segments = ctx.segments
        gradients = [empty_like(x) for x in (query, key, value)]
        shares = [empty(segments.parts, *x.shape[1:]) for x in (key, value)]
        named = _named(query, key, value, prefix)
        named |= {"found": found, "sums": sums, "upstream": upstream.contiguous()}
        named |= {f"of_{name}": x for name, x in zip(_INPUTS, gradients + shares, strict=True)}
        segments.run(ctx.c, "hypo_attend_gradient", ctx.scaling, named)
        into = [torch.zeros_like(x) for x in prefix] or gradients[1:]
        joined = [segments.join(*pair) for pair in zip(shares, into, strict=True)]
        return *gradients, *(joined if prefix else (None, None)), None, None, None


def _named(query: Tensor, key: Tensor, value: Tensor, prefix: Sequence[Tensor]) -> dict[str, Tensor]:
    """The inputs by name; without a prefix, prompts are read from the row itself."""
    return dict(zip(_INPUTS, (query, key, value, *(prefix or (key, value))), strict=True))


def _library(*, half: bool) -> ctypes.CDLL | None:
    narrow = compiled("attention_bf16.c") if half and is_fast() else None
    return narrow or compiled("attention.c")
