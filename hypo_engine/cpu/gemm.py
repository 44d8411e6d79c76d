"""Large float32 matrix products on a CPU: torch's MKL, or gemm.c where that is faster.

MKL is tuned for Intel's processors. On AMD's, gemm.c is a tenth faster in a training step, where matrices
come from memory, and more at the vocabulary head. The processor's vendor and the sizes decide which one
computes, never a timing, so a resumed run repeats the same arithmetic.
"""

import ctypes
from ctypes import c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.cpu import bf16_gemm
from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.pool import empty

_LEAST = 1 << 22
"""Below this number of multiplications the call costs more than it saves."""


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x w^T + bias without autograd: x [..., depth], w [outs, depth] (or a transposed view), bias [outs].

    With a bfloat16 w, a float32 x on a CPU is rounded for the product, and the result is float32.
    """
    if _is_mixed(x, w):
        return bf16_gemm.linear(x, w, bias)
    c = _library(x, w)
    if c is None:
        return F.linear(x, w, bias)
    y = empty(*x.shape[:-1], len(w))
    if bias is not None:
        y.copy_(bias)
    _call(c, x, w, y, add=bias is not None)
    return y


def add_linear(y: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """y += x w^T in place: y [rows, outs], x [rows, depth], w [outs, depth] (or a transposed view)."""
    if _is_mixed(x, w):
        return bf16_gemm.product([(bf16_gemm.rounded(x), w)], into=y)
    c = _library(x, w) if y.is_contiguous() and y.dtype == torch.float32 else None
    if c is None:
        return y.addmm_(x, w.t())
    _call(c, x, w, y, add=True)
    return y


def _is_mixed(x: Tensor, w: Tensor) -> bool:
    return x.dtype == torch.float32 and w.dtype == torch.bfloat16 and w.device.type == "cpu"


def _call(c: ctypes.CDLL, x: Tensor, w: Tensor, y: Tensor, *, add: bool) -> None:
    depth, outs = x.shape[-1], len(w)
    rows = x.numel() // depth
    c.hypo_large_product(
        c_void_p(x.data_ptr()),
        c_int64(depth),
        c_void_p(w.data_ptr()),
        *(c_int64(stride) for stride in w.stride()),
        *(c_int64(size) for size in (rows, outs, depth)),
        c_void_p(y.data_ptr()),
        c_int64(outs),
        int(add),
        torch.get_num_threads(),
    )


def _library(x: Tensor, w: Tensor) -> ctypes.CDLL | None:
    """The compiled gemm.c; None where torch computes."""
    fits = (
        x.dtype == w.dtype == torch.float32
        and x.device.type == w.device.type == "cpu"
        and x.numel() * len(w) >= _LEAST
        and x.is_contiguous()
        and 1 in w.stride()
        and x.shape[-1] == w.shape[1]
    )
    return _own() if fits else None


@cache
def _own() -> ctypes.CDLL | None:
    return compiled("gemm.c") if is_amd() else None


@cache
def is_amd() -> bool:
    """Whether the processor is AMD's; False if the system does not report it."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
