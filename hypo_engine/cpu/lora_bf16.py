"""Linear layers with bfloat16 weights and float32 LoRA adapters on float32 activations, on a CPU.

y = x W^T + bias + (x A^T) (scale B)^T, with everything rounded to bfloat16 for a product and float32 sums.
Layers that read the same input are computed together: by lora_bf16.c where the processor has AMX, else by
products of :mod:`.bf16_gemm`.
"""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, byref, c_float, c_int64, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.cpu.bf16_gemm import TILE_DEPTH, Rounded, is_fast, product, rounded, unset
from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.pool import empty

_MOST = 8
"""Layers of a group that lora_bf16.c has room for."""

_DEEPEST = 1 << 14
"""Terms of a sum that bf16_gemm.h computes in one go."""


class _Layer(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("weight", "bias", "a", "b")),
        *((name, c_int64) for name in ("outs", "rank")),
        ("scale", c_float),
        *(
            (name, c_void_p)
            for name in ("y", "y_narrow", "down", "upstream", "upstream_narrow", "of_a", "of_b")
        ),
    ]


class _Group(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("rows", "depth", "count")),
        *((name, c_void_p) for name in ("x", "x_narrow", "of_x", "of_x_narrow", "layers", "workspace")),
    ]


@dataclass(frozen=True, slots=True)
class Adapted:
    """A linear layer and its adapter.

    Attributes:
        weight: [outs, ins] bfloat16.
        bias: [outs] float32 or None.
        a, b: [rank, ins] and [outs, rank] float32; None without an adapter.
        scale: Of the adapter.
    """

    weight: Tensor
    bias: Tensor | None
    a: Tensor | None = None
    b: Tensor | None = None
    scale: float = 1.0

    @property
    def rank(self) -> int:
        return 0 if self.a is None else len(self.a)

    def narrow(self) -> tuple[Tensor, Tensor]:
        """A, and B times the scale, in bfloat16."""
        assert self.a is not None
        assert self.b is not None
        return self.a.to(torch.bfloat16), (self.b * self.scale).to(torch.bfloat16)

    def tensors(self) -> list[Tensor]:
        """What there is besides the weight."""
        return [x for x in (self.bias, self.a, self.b) if x is not None]


Downs = Sequence[Tensor | None]
"""x A^T of each layer in bfloat16, from the forward pass for the backward pass; None without an adapter."""


@torch.no_grad()
def forward(x: Tensor, layers: Sequence[Adapted]) -> tuple[list[Tensor], Downs]:
    """Each layer's output [rows, outs] for x [rows, ins], and what :func:`gradients` takes."""
    if _library(layers, x) is None:
        narrow = rounded(x)
        found, downs = zip(*(_one(narrow, layer) for layer in layers), strict=True)
        return list(found), downs
    outputs = [empty(len(x), len(layer.weight)) for layer in layers]
    return outputs, write_outputs(x.contiguous(), layers, outputs)


@torch.no_grad()
def gradients(
    x: Tensor, layers: Sequence[Adapted], downs: Downs, upstream: Sequence[Tensor], *, of_input: bool
) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
    """The gradients of x (if ``of_input``), of each A and of each B; every layer has an adapter.

    Args:
        x: [rows, ins].
        downs: What :func:`forward` returned beside the outputs.
        upstream: The outputs' gradients, [rows, outs].
    """
    if _library(layers, x) is None:
        return _gradients(x, layers, downs, upstream, of_input=of_input)
    of_x = empty(*x.shape) if of_input else None
    return of_x, *write_gradients(x.contiguous(), layers, downs, upstream, of_x)


Matrix = Tensor | Rounded
"""A contiguous float32 matrix, or a rounded one."""


def write_outputs(x: Matrix, layers: Sequence[Adapted], outputs: Sequence[Matrix]) -> Downs:
    """As :func:`forward` where :func:`gives_rounded`, into the matrices given."""
    rows = x.rows if isinstance(x, Rounded) else len(x)
    downs = [unset(rows, layer.rank).padded if layer.rank else None for layer in layers]
    structs = [
        _struct(layer, y=found, down=down) for layer, found, down in zip(layers, outputs, downs, strict=True)
    ]
    _run("forward", layers, x, structs)
    return downs


def write_gradients(
    x: Matrix, layers: Sequence[Adapted], downs: Downs, upstream: Sequence[Matrix], of_x: Matrix | None
) -> tuple[list[Tensor], list[Tensor]]:
    """As :func:`gradients` where :func:`gives_rounded`; ``of_x``: where the gradient of x goes, or None."""
    given = [each if isinstance(each, Rounded) else each.float().contiguous() for each in upstream]
    of_a = [torch.empty_like(layer.a) for layer in layers if layer.a is not None]
    of_b = [torch.empty_like(layer.b) for layer in layers if layer.b is not None]
    structs = [
        _struct(layer, down=down, upstream=each, of_a=to_a, of_b=to_b)
        for layer, down, each, to_a, to_b in zip(layers, downs, given, of_a, of_b, strict=True)
    ]
    _run("backward", layers, x, structs, of_x)
    return of_a, of_b


def gives_rounded(layers: Sequence[Adapted], depth: int) -> bool:
    """Whether the functions that write can write sums of ``depth`` terms, and of the adapters', rounded."""
    deepest = _padded(depth) + max(_padded(layer.rank) for layer in layers)
    plain = all(layer.bias is None for layer in layers)
    return plain and deepest <= _DEEPEST and _library(layers) is not None


def _padded(size: int) -> int:
    return -(-size // TILE_DEPTH) * TILE_DEPTH


def _struct(layer: Adapted, **others: Matrix | None) -> _Layer:
    given = _pointers(weight=layer.weight, bias=layer.bias, a=layer.a, b=layer.b, **others)
    return _Layer(outs=len(layer.weight), rank=layer.rank, scale=layer.scale, **given)


def _pointers(**matrices: Matrix | None) -> dict[str, int]:
    """The addresses of matrices by name; rounded ones have members of their own."""
    return {
        f"{name}_narrow" if isinstance(matrix, Rounded) else name: (
            matrix.padded if isinstance(matrix, Rounded) else matrix
        ).data_ptr()
        for name, matrix in matrices.items()
        if matrix is not None
    }


def _run(
    way: str, layers: Sequence[Adapted], x: Matrix, structs: Sequence[_Layer], of_x: Matrix | None = None
) -> None:
    c = _library(layers)
    assert c is not None
    array = (_Layer * len(structs))(*structs)
    rows, depth = (x.rows, x.depth) if isinstance(x, Rounded) else x.shape
    group = _Group(rows, depth, len(structs), layers=ctypes.addressof(array), **_pointers(x=x, of_x=of_x))
    measure = c.hypo_lora_workspace
    measure.restype = c_int64
    workspace = empty(measure(byref(group), int(way == "backward")))
    group.workspace = workspace.data_ptr()
    getattr(c, f"hypo_lora_{way}")(byref(group), torch.get_num_threads())


def _one(narrow: Rounded, layer: Adapted) -> tuple[Tensor, Tensor | None]:
    terms, down = [(narrow, layer.weight)], None
    if layer.rank:
        a, b = layer.narrow()
        down = rounded(product([(narrow, a)]))
        terms.append((down, b))
    y = product(terms)
    if layer.bias is not None:
        y.add_(layer.bias)
    return y, None if down is None else down.padded


def _gradients(
    x: Tensor,
    layers: Sequence[Adapted],
    downs: Downs,
    upstream: Sequence[Tensor],
    *,
    of_input: bool,
) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
    narrow = rounded(x)
    terms, of_a, of_b = list[tuple[Rounded, Tensor]](), list[Tensor](), list[Tensor]()
    for layer, down, given in zip(layers, downs, upstream, strict=True):
        a, b = layer.narrow()
        assert down is not None
        above = rounded(given)
        up = product([(above, b.t())])
        of_a.append(product([(rounded(up.t().contiguous()), narrow.matrix.t())]))
        through = down[: narrow.rows, : layer.rank].t().float().contiguous()
        of_b.append((product([(rounded(through), above.matrix.t())]) * layer.scale).t())
        terms += [(above, layer.weight.t()), (rounded(up), a.t())]
    return product(terms) if of_input else None, of_a, of_b


def _library(layers: Sequence[Adapted], x: Tensor | None = None) -> ctypes.CDLL | None:
    if not is_fast() or len(layers) > _MOST or (x is not None and (x.dtype != torch.float32 or not len(x))):
        return None
    others = [tensor for layer in layers for tensor in layer.tensors()]
    fits = [tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in others]
    fits += [layer.weight.dtype == torch.bfloat16 and layer.weight.is_contiguous() for layer in layers]
    if not all(fits):
        return None
    return compiled("lora_bf16.c")
