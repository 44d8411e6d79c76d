"""Linear layers with bfloat16 weights and float32 LoRA adapters on float32 activations, on a CPU.

y = x W^T + bias + (x A^T) (scale B)^T, with everything rounded to bfloat16 for a product and float32 sums.
Layers that read the same input are computed together: by lora_bf16.c where the processor has AMX, else by
products of :mod:`.bf16_gemm`.
"""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, byref, c_float, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hypo_engine.cpu.bf16_gemm import Rounded, is_fast, padded_shape, product, rounded
from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.pool import empty

_MOST = 8
"""Layers of a group that lora_bf16.c has room for."""


class _Layer(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("weight", "bias", "a", "b")),
        *((name, c_int64) for name in ("outs", "rank")),
        ("scale", c_float),
        *((name, c_void_p) for name in ("y", "down", "upstream", "of_a", "of_b")),
    ]


class _Group(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("rows", "depth", "count")),
        *((name, c_void_p) for name in ("x", "of_x", "layers", "workspace")),
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


@torch.no_grad()
def forward(x: Tensor, layers: Sequence[Adapted]) -> list[tuple[Tensor, Tensor | None]]:
    """Each layer's output [rows, outs] for x [rows, ins], and x A^T in bfloat16 for :func:`gradients`."""
    c = _library(x, layers)
    if c is None:
        narrow = rounded(x)
        return [_one(narrow, layer) for layer in layers]
    found = [
        (
            empty(len(x), len(layer.weight)),
            torch.empty(padded_shape(len(x), layer.rank), dtype=torch.bfloat16) if layer.rank else None,
        )
        for layer in layers
    ]
    x = x.contiguous()
    _run(
        c,
        "forward",
        x,
        [_struct(layer, y=y, down=down) for layer, (y, down) in zip(layers, found, strict=True)],
    )
    return found


@torch.no_grad()
def gradients(
    x: Tensor,
    layers: Sequence[Adapted],
    downs: Sequence[Tensor],
    upstream: Sequence[Tensor],
    *,
    of_input: bool,
) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
    """The gradients of x (if ``of_input``), of each A and of each B; every layer has an adapter.

    Args:
        x: [rows, ins].
        downs: What :func:`forward` returned beside the outputs.
        upstream: The outputs' gradients, [rows, outs].
    """
    c = _library(x, layers)
    if c is None:
        return _gradients(x, layers, downs, upstream, of_input=of_input)
    x, given = x.contiguous(), [each.float().contiguous() for each in upstream]
    of_x = empty(*x.shape) if of_input else None
    of_ab = [(torch.empty_like(layer.a), torch.empty_like(layer.b)) for layer in layers]  # type: ignore[arg-type]
    structs = [
        _struct(layer, down=down, upstream=each, of_a=of_a, of_b=of_b)
        for layer, down, each, (of_a, of_b) in zip(layers, downs, given, of_ab, strict=True)
    ]
    _run(c, "backward", x, structs, of_x)
    return of_x, [of_a for of_a, _ in of_ab], [of_b for _, of_b in of_ab]


def _struct(layer: Adapted, **others: Tensor | None) -> _Layer:
    named = {"weight": layer.weight, "bias": layer.bias, "a": layer.a, "b": layer.b} | others
    given = {name: tensor.data_ptr() for name, tensor in named.items() if tensor is not None}
    return _Layer(outs=len(layer.weight), rank=layer.rank, scale=layer.scale, **given)


def _run(c: ctypes.CDLL, way: str, x: Tensor, layers: Sequence[_Layer], of_x: Tensor | None = None) -> None:
    array = (_Layer * len(layers))(*layers)
    group = _Group(*x.shape, len(layers), x.data_ptr(), of_x.data_ptr() if of_x is not None else None)
    group.layers = ctypes.addressof(array)
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
    downs: Sequence[Tensor],
    upstream: Sequence[Tensor],
    *,
    of_input: bool,
) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
    narrow = rounded(x)
    terms, of_a, of_b = list[tuple[Rounded, Tensor]](), list[Tensor](), list[Tensor]()
    for layer, down, given in zip(layers, downs, upstream, strict=True):
        a, b = layer.narrow()
        above = rounded(given)
        up = product([(above, b.t())])
        of_a.append(product([(rounded(up.t().contiguous()), narrow.matrix.t())]))
        through = down[: narrow.rows, : layer.rank].t().float().contiguous()
        of_b.append((product([(rounded(through), above.matrix.t())]) * layer.scale).t())
        terms += [(above, layer.weight.t()), (rounded(up), a.t())]
    return product(terms) if of_input else None, of_a, of_b


def _library(x: Tensor, layers: Sequence[Adapted]) -> ctypes.CDLL | None:
    if not is_fast() or len(layers) > _MOST or x.dtype != torch.float32 or not len(x):
        return None
    if not all(layer.weight.is_contiguous() for layer in layers) or not all(
        tensor.dtype == torch.float32 and tensor.is_contiguous()
        for layer in layers
        for tensor in layer.tensors()
    ):
        return None
    return compiled(Path(__file__).with_name("lora_bf16.c"))
