"""Pointers to a model's present weights, as decode_step.c reads them; the structs are declared there too."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_float, c_int64, c_void_p
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hypo_engine.cpu.bf16_gemm import TILE_DEPTH
from hypo_engine.cpu.skinny_gemm import is_float
from hypo_engine.forward.merged_lora import weight_and_bias
from hypo_engine.forward.mixed_lora import adapters_of
from hypo_engine.forward.routed_lora import LowRank, RoutedLora, routed

_PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")


def pointers(names: str) -> list[tuple[str, Any]]:
    """Fields of a struct that are pointers."""
    return [(name, c_void_p) for name in names.split()]


def counts(names: str) -> list[tuple[str, Any]]:
    """Fields of a struct that are numbers of things."""
    return [(name, c_int64) for name in names.split()]


class _Lora(Structure):
    _fields_ = [*pointers("a b"), *counts("rank"), ("scale", c_float)]


class _Layer(Structure):
    _fields_ = [
        *pointers("norm_in norm_out q_bias k_bias v_bias o_bias q k v o gate up down"),
        ("lora", POINTER(_Lora) * len(_PROJECTIONS)),
    ]


class Model(Structure):
    """The struct of a model."""

    _fields_ = [
        *counts("layers hidden heads kv_heads size inner vocabulary"),
        ("eps", c_float),
        ("scaling", c_float),
        ("layer", POINTER(_Layer)),
        *pointers("norm embedding head"),
    ]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's weights, merged with its adapter or with adapters by row.

    Attributes:
        adapters: The place of each row's adapter in the arrays of the layers, [rows] int64; -1 for none.
        count: The number of these adapters.
        ranks: Their largest rank; 0 without any. With bfloat16 weights every adapter is padded to it.
        held: What the pointers point to.
    """

    model: Model
    adapters: Tensor
    count: int
    ranks: int
    held: list[Any]

    @classmethod
    def of(cls, body: Any, head: Tensor, rows: int) -> "Weights | None":
        """The weights of a Llama-like body and its head, all contiguous and on the CPU.

        The matrices are float32, or all of them bfloat16; everything else is float32. None otherwise.

        Args:
            rows: The number of rows; where rows have adapters of their own, these were routed.
        """
        config, held = body.config, list[Any]()
        layers = (_Layer * len(body.layers))()
        adapters = [[_adapters(layer) for layer in _projections(module)] for module in body.layers]
        ranks = _widest(adapters, head.dtype)
        for layer, module, own in zip(layers, body.layers, adapters, strict=True):
            if not _fill(layer, module, held, head.dtype) or not _adapt(layer, own, ranks, held, head.dtype):
                return None
        first = body.layers[0].self_attn
        weights = body.norm.weight, body.embed_tokens.weight, head
        if not is_float(weights[0]) or not all(_fits(weight, head.dtype) for weight in weights[1:]):
            return None
        held.extend(weights)
        model = Model(
            len(layers),
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            first.head_dim,
            config.intermediate_size,
            len(head),
            config.rms_norm_eps,
            first.scaling,
            layers,
            *(weight.data_ptr() for weight in weights),
        )
        router = _router(body)
        places = router.places if router and ranks else [0 if ranks else -1] * rows
        count = max((len(own) for layer in adapters for own in layer), default=0)
        return cls(model, torch.tensor(places), count, ranks, held) if len(places) == rows else None


def _projections(module: Any) -> list[Any]:
    """The linear layers of a transformer layer, in the order of ``_PROJECTIONS``."""
    attention, mlp = module.self_attn, module.mlp
    return [
        *(getattr(attention, f"{name}_proj") for name in _PROJECTIONS[:4]),
        *(getattr(mlp, f"{name}_proj") for name in _PROJECTIONS[4:]),
    ]


def _router(body: Any) -> RoutedLora | None:
    """What routes the rows of a model to their adapters; None if it has no adapters by row."""
    found = (routed(layer) for module in body.layers for layer in _projections(module))
    return next((layer.router for layer in found if layer), None)


def _fill(layer: _Layer, module: Any, held: list[Any], dtype: torch.dtype) -> bool:
    """Point to the weights of a transformer layer, which ``held`` keeps alive; False if one does not fit.

    Args:
        dtype: Of the matrices.
    """
    matrices: dict[str, Tensor] = {}
    vectors: dict[str, Tensor] = {
        "norm_in": module.input_layernorm.weight,
        "norm_out": module.post_attention_layernorm.weight,
    }
    for name, projection in zip(_PROJECTIONS, _projections(module), strict=True):
        own = routed(projection)
        pair = weight_and_bias(own.base if own else projection)
        if pair is None or (pair[1] is not None and name in _PROJECTIONS[4:]):
            return False
        matrices[name] = pair[0]
        if pair[1] is not None:
            vectors[f"{name}_bias"] = pair[1]
    for name, tensor in (vectors | matrices).items():
        setattr(layer, name, tensor.data_ptr())
        held.append(tensor)
    return all(is_float(vector) for vector in vectors.values()) and all(
        _fits(matrix, dtype) for matrix in matrices.values()
    )


def _fits(matrix: Tensor, dtype: torch.dtype) -> bool:
    """Whether the decoding step can read a matrix; bfloat16 rows are whole tiles of its terms."""
    if matrix.dtype != dtype or matrix.device.type != "cpu" or not matrix.is_contiguous():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and matrix.shape[1] % TILE_DEPTH == 0)


def _adapters(projection: Any) -> list[LowRank | None]:
    """The adapters of a linear layer that are not merged into its weight, one for each name of the rows."""
    own = routed(projection)
    return own.adapters() if own else list(adapters_of(projection))


def _widest(adapters: list[list[list[LowRank | None]]], dtype: torch.dtype) -> int:
    """The largest rank of all adapters; with bfloat16 weights, in whole tiles."""
    found = (one for layer in adapters for own in layer for one in own if one)
    widest = max((len(one.a) for one in found), default=0)
    return -(-widest // TILE_DEPTH) * TILE_DEPTH if dtype == torch.bfloat16 else widest


def _adapt(
    layer: _Layer, adapters: list[list[LowRank | None]], ranks: int, held: list[Any], dtype: torch.dtype
) -> bool:
    """Point to the adapters of a transformer layer's projections; False if their weights do not fit."""
    point = partial(_side_by_side, ranks=ranks) if dtype == torch.bfloat16 else _one_by_one
    for place, own in enumerate(adapters):
        present = [adapter for adapter in own if adapter]
        if not all(is_float(x) for adapter in present for x in (adapter.a, adapter.b)):
            return False
        if present:
            layer.lora[place] = found = point(own, held)
            held.append(found)
    return True


def _one_by_one(adapters: Sequence[LowRank | None], held: list[Any]) -> "ctypes.Array[_Lora]":
    """Pointers to each adapter's own matrices."""
    loras = (_Lora * len(adapters))()
    for place, adapter in enumerate(adapters):
        if adapter is not None:
            loras[place] = _Lora(adapter.a.data_ptr(), adapter.b.data_ptr(), len(adapter.a), adapter.scale)
            held.extend([adapter.a, adapter.b])
    return loras


@torch.no_grad()
def _side_by_side(
    adapters: Sequence[LowRank | None], held: list[Any], *, ranks: int
) -> "ctypes.Array[_Lora]":
    """Pointers to the matrices of all adapters in one, in bfloat16: A, and B times the scale.

    Each adapter has ``ranks`` rows of A and columns of B, zeros beyond its own.
    """
    (ins, outs) = next((x.a.shape[1], len(x.b)) for x in adapters if x)
    a = torch.zeros(len(adapters) * ranks, ins, dtype=torch.bfloat16)
    b = torch.zeros(outs, len(adapters) * ranks, dtype=torch.bfloat16)
    for place, adapter in enumerate(adapters):
        if adapter is not None:
            own = slice(place * ranks, place * ranks + len(adapter.a))
            a[own], b[:, own] = adapter.a, adapter.b * adapter.scale
    held.extend([a, b])
    return (_Lora * 1)(_Lora(a.data_ptr(), b.data_ptr(), len(a), 1.0))
