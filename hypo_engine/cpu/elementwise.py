"""Norm, gate, rotary positions and softmax in C (elementwise.c), one pass over memory each; float32 on a CPU.

Every function returns None where the C kernel does not apply: no compiler, another dtype or device, or a
tensor that is not contiguous.
"""

import ctypes
from ctypes import c_float, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.pool import empty_like
from hypo_engine.cpu.skinny_gemm import is_float


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor] | None:
    """RMS norm of x [..., size] times weight [size], and 1 / sqrt(mean(x^2) + eps), [..., 1]."""
    c = _library(x, weight) if len(weight) == x.shape[-1] else None
    if c is None:
        return None
    y, inverse = empty_like(x), x.new_empty(*x.shape[:-1], 1)
    rows, size = inverse.numel(), x.shape[-1]
    _call(c.hypo_rms_norm, x, weight, c_float(eps), rows, size, y, inverse)
    return y, inverse


def rms_norm_gradient(upstream: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor | None:
    """The gradient of x; every tensor is [..., size] except weight [size] and inverse [..., 1]."""
    c = _library(upstream, x, weight, inverse)
    if c is None:
        return None
    of_x = empty_like(x)
    _call(c.hypo_rms_norm_gradient, upstream, x, weight, inverse, inverse.numel(), x.shape[-1], of_x)
    return of_x


def swiglu(gate: Tensor, up: Tensor) -> Tensor | None:
    """silu(gate) * up."""
    c = _library(gate, up) if gate.shape == up.shape else None
    if c is None:
        return None
    y = empty_like(gate)
    _call(c.hypo_swiglu, gate, up, gate.numel(), y)
    return y


def swiglu_gradient(upstream: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor] | None:
    """The gradients of gate and up."""
    c = _library(upstream, gate, up)
    if c is None:
        return None
    of_gate, of_up = empty_like(gate), empty_like(up)
    _call(c.hypo_swiglu_gradient, upstream, gate, up, gate.numel(), of_gate, of_up)
    return of_gate, of_up


def rotate(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor | None:
    """Rotary embedding of x [1, tokens, heads, size]; cos and sin are [1, tokens, 1, size / 2]."""
    c = _library(x)
    lies_well = (
        cos.dtype == sin.dtype == torch.float32 and cos.stride() == sin.stride() and cos.stride(-1) == 1
    )
    if (
        c is None
        or not lies_well
        or x.dim() != 4
        or len(x) != 1
        or cos.shape != (*x.shape[:2], 1, x.shape[3] // 2)
    ):
        return None
    y = empty_like(x)
    angles = c_void_p(cos.data_ptr()), c_void_p(sin.data_ptr()), cos.stride(1)
    _call(c.hypo_rotate, x, *angles, x.shape[1], x.shape[2], x.shape[3] // 2, c_float(direction), y)
    return y


class BlockwiseSoftmax:
    """An online softmax over columns that arrive block by block, with sums that it weights.

    Attributes:
        sums: [rows, size] or None: the caller's weighted sums, rescaled whenever a later block raises the
            maximum.
    """

    def __init__(self, scale: Tensor, targets: Tensor, sums: Tensor | None) -> None:
        """scale: [rows], the inverse temperature; targets: [rows] columns."""
        rows = len(targets)
        self.sums = sums
        self._scale, self._targets = scale.contiguous(), targets
        self._highest = torch.full((rows,), -torch.inf)
        self._total, self._picked = torch.zeros(rows), torch.empty(rows)

    @staticmethod
    def serves(*tensors: Tensor) -> bool:
        """Whether the C kernel accepts such tensors."""
        return _library(*tensors) is not None

    def block(self, logits: Tensor, start: int) -> None:
        """Turn logits [rows, columns], columns from ``start`` on, into unnormalized weights in place."""
        c = _library(logits)
        assert c is not None
        rows, columns = logits.shape
        sums = c_void_p() if self.sums is None else self.sums
        size = 0 if self.sums is None else self.sums.shape[1]
        targets = self._targets - start
        _call(
            c.hypo_softmax_block,
            *(logits, rows, columns, self._scale, targets),
            *(self._highest, self._total, self._picked, sums, size),
        )

    def target_logps(self) -> Tensor:
        """Log-probabilities of the targets, [rows]."""
        return self._picked - self._highest - self._total.log()

    def normalizer(self) -> Tensor:
        """The divisor of all weights, [rows]."""
        return self._total


def _library(*tensors: Tensor) -> ctypes.CDLL | None:
    if not all(is_float(tensor) for tensor in tensors):
        return None
    return compiled("elementwise.c")


def _call(function: Any, *arguments: Any) -> None:
    """Call a C function with tensors as pointers, integers as int64, and torch's number of threads."""
    given = (
        c_void_p(a.data_ptr()) if isinstance(a, Tensor) else c_int64(a) if isinstance(a, int) else a
        for a in arguments
    )
    function(*given, torch.get_num_threads())
