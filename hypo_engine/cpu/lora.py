"""LoRA in C (lora.c), float32 on a CPU: merging adapters into weights, and their gradients."""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, c_float, c_int64, c_void_p

import torch
from torch import Tensor

from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.pool import empty, empty_like
from hypo_engine.cpu.skinny_gemm import is_float

_WIDEST = 32
"""Columns of the widest tile; A is padded to a multiple of it."""


class _Adapter(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("outs", "rank")),
        ("scale", c_float),
        *((name, c_void_p) for name in ("given", "a", "b", "of_a", "of_b")),
    ]


def merge(base: Tensor, a: Tensor, b: Tensor, scale: float, place: Tensor | None = None) -> Tensor:
    """base + scale B A without autograd, in ``place`` or in a new tensor; both give the same bits.

    base and place: [outputs, inputs], A [rank, inputs], B [outputs, rank].
    """
    c = _library() if all(is_float(tensor) for tensor in (base, a, b)) else None
    if c is None:
        with torch.no_grad():
            return torch.addmm(base, b, a, alpha=scale, out=place)
    (outs, ins), rank, found = base.shape, len(a), empty_like(base) if place is None else place
    workspace = empty(rank * (outs + ins + _WIDEST))
    c.hypo_low_rank_merge(
        *(c_void_p(tensor.data_ptr()) for tensor in (base, a, b)),
        *(c_int64(size) for size in (outs, ins, rank)),
        c_float(scale),
        *(c_void_p(tensor.data_ptr()) for tensor in (workspace, found)),
        torch.get_num_threads(),
    )
    return found


def gradients(
    x: Tensor, upstream: Sequence[Tensor], a: Sequence[Tensor], b: Sequence[Tensor], scales: Sequence[float]
) -> tuple[list[Tensor], list[Tensor]] | None:
    """scale (g B)^T x of each A [rank, inputs], and scale g^T (x A^T) of each B [outputs, rank].

    The last digits depend on the number of threads, because each thread sums its own tokens.

    Args:
        x: [tokens, inputs], the layers' common input.
        upstream: g of each layer, [tokens, outputs].

    Returns:
        None if the C kernel does not apply.
    """
    if not all(is_float(tensor) for tensor in (x, *upstream, *a, *b)) or (c := _library()) is None:
        return None
    of_a, of_b = [torch.empty_like(m) for m in a], [torch.empty_like(m) for m in b]
    layers = zip(upstream, a, b, scales, of_a, of_b, strict=True)
    adapters = (_Adapter * len(upstream))(
        *(
            _Adapter(g.shape[1], len(down), scale, *(t.data_ptr() for t in (g, down, up, to_a, to_b)))
            for g, down, up, scale, to_a, to_b in layers
        )
    )
    threads, (tokens, ins) = torch.get_num_threads(), x.shape
    workspace = empty(c.hypo_low_rank_workspace(adapters, c_int64(len(adapters)), c_int64(ins), threads))
    c.hypo_low_rank_gradients(
        c_void_p(x.data_ptr()),
        c_int64(tokens),
        c_int64(ins),
        adapters,
        c_int64(len(adapters)),
        c_void_p(workspace.data_ptr()),
        threads,
    )
    return of_a, of_b


def _library() -> ctypes.CDLL | None:
    found = compiled("lora.c")
    if found is not None:
        found.hypo_low_rank_workspace.restype = c_int64
    return found
