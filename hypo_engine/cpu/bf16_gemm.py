"""Products of float32 activations with bfloat16 weights on a CPU, with float32 sums and float32 results.

Activations are rounded to bfloat16 for the product alone. bf16_gemm.c computes it where the processor has
AMX, and a row's result does not depend on the other rows. Elsewhere torch does, which rounds the results to
bfloat16 as well.
"""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.pool import empty

TILE_DEPTH = 32
"""Terms of a tile; rounded matrices are padded to a multiple of it,"""

_ROWS = 32
"""and their rows to a multiple of this."""


class _Term(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("x", "w")),
        *((name, c_int64) for name in ("x_row", "w_row", "w_column", "depth")),
    ]


@dataclass(frozen=True, slots=True)
class Rounded:
    """A matrix rounded to bfloat16.

    Attributes:
        padded: [at least rows, at least depth] bfloat16; zeros beyond the matrix.
        rows, depth: The matrix's sizes.
    """

    padded: Tensor
    rows: int
    depth: int

    @property
    def matrix(self) -> Tensor:
        """[rows, depth] without the padding, a view."""
        return self.padded[: self.rows, : self.depth]


def rounded(x: Tensor) -> Rounded:
    """Round x [rows, depth] to bfloat16."""
    rows, depth = x.shape
    c = _library()
    if c is None:
        return Rounded(x.to(torch.bfloat16), rows, depth)
    x = x.float().contiguous()  # an expanded gradient, say, has strides of 0
    found = unset(rows, depth)
    c.hypo_bf16_round(
        c_void_p(x.data_ptr()),
        *(c_int64(size) for size in (x.stride(0), rows, depth)),
        c_void_p(found.padded.data_ptr()),
        *(c_int64(size) for size in found.padded.shape),
        torch.get_num_threads(),
    )
    return found


def unset(rows: int, depth: int) -> Rounded:
    """A matrix whose numbers are still to be written, padding included."""
    to_rows, to_depth = -(-rows // _ROWS) * _ROWS, -(-depth // TILE_DEPTH) * TILE_DEPTH
    return Rounded(empty(to_rows, to_depth // 2).view(torch.bfloat16), rows, depth)


_Operands = tuple[Rounded, Tensor]
"""x [rows, depth] and w [outs, depth] of one term."""


def product(terms: Sequence[_Operands], into: Tensor | None = None) -> Tensor:
    """The sum of x w^T over (x, w), x [rows, depth] and w [outs, depth] bfloat16: [rows, outs] float32.

    Args:
        into: Added to in place, contiguous.
    """
    c = _library()
    if c is not None and all(1 in w.stride() for _, w in terms):
        return _multiply(c, terms, into)
    found = torch.stack([F.linear(x.matrix, w).float() for x, w in terms]).sum(dim=0)
    return found if into is None else into.add_(found)


def _multiply(c: ctypes.CDLL, terms: Sequence[_Operands], into: Tensor | None) -> Tensor:
    x, w = terms[0]
    y = empty(x.rows, len(w)) if into is None else into
    given = (_Term * len(terms))(
        *(
            _Term(x.padded.data_ptr(), w.data_ptr(), x.padded.stride(0), *w.stride(), w.shape[1])
            for x, w in terms
        )
    )
    c.hypo_bf16_product(
        given,
        len(terms),
        *(c_int64(size) for size in (x.rows, len(w))),
        c_void_p(y.data_ptr()),
        c_int64(len(w)),
        int(into is not None),
        torch.get_num_threads(),
    )
    return y


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x w^T + bias without autograd: x [..., depth] float32, w [outs, depth] bfloat16, bias [outs]."""
    found = product([(rounded(x.reshape(-1, x.shape[-1])), w)])
    return (found if bias is None else found.add_(bias)).view(*x.shape[:-1], len(w))


def is_fast() -> bool:
    """Whether this processor multiplies bfloat16 several times as fast as float32."""
    return _library() is not None


@cache
def _library() -> ctypes.CDLL | None:
    found = compiled("bf16_gemm.c")
    return found if found is not None and found.hypo_bf16_available() else None
