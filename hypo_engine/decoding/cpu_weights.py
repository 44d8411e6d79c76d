"""Pointers to a model's present weights, as decode_step.c reads them; the structs are declared there too."""

import ctypes
from ctypes import POINTER, Structure, c_float, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hypo_engine.cpu.skinny_gemm import is_float
from hypo_engine.forward.merged_lora import weight_and_bias
from hypo_engine.forward.routed_lora import RoutedLayer, RoutedLora, routed

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
        *pointers("norm_in q k v q_bias k_bias v_bias o o_bias norm_out gate up down"),
        ("lora", POINTER(_Lora) * len(_PROJECTIONS)),
    ]


class Model(Structure):
    """The struct of a model."""

    _fields_ = [
        *counts("layers hidden heads kv_heads size inner vocabulary"),
        ("eps", c_float),
        ("scaling", c_float),
        ("layer", POINTER(_Layer)),
        *pointers("embedding norm head"),
    ]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's weights, merged with its adapter or with adapters by row.

    Attributes:
        adapters: The place of each row's adapter in the arrays of the layers, [rows] int64; -1 for none.
        ranks: The largest rank of these adapters; 0 without any.
        held: What the pointers point to.
    """

    model: Model
    adapters: Tensor
    ranks: int
    held: list[Any]

    @classmethod
    def of(cls, body: Any, head: Tensor, rows: int) -> "Weights | None":
        """The weights of a Llama-like body and its head; None unless all are contiguous float32 on the CPU.

        Args:
            rows: The number of rows; where rows have adapters of their own, these were routed.
        """
        config, held, ranks = body.config, list[Any](), 0
        layers = (_Layer * len(body.layers))()
        for layer, module in zip(layers, body.layers, strict=True):
            loras = _fill(layer, module, held)
            if loras is None:
                return None
            ranks = max([ranks, *(lora.rank for found in loras for lora in found)])
        first = body.layers[0].self_attn
        weights = body.embed_tokens.weight, body.norm.weight, head
        if not all(is_float(weight) for weight in weights):
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
        places = router.places if router and ranks else [-1] * rows
        return cls(model, torch.tensor(places), ranks, held) if len(places) == rows else None


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


def _fill(layer: _Layer, module: Any, held: list[Any]) -> "list[ctypes.Array[_Lora]] | None":
    """Point to the weights of a transformer layer, which ``held`` keeps alive.

    Returns:
        The adapters of its projections; None if a weight does not fit.
    """
    all_loras = []
    found: dict[str, Tensor] = {
        "norm_in": module.input_layernorm.weight,
        "norm_out": module.post_attention_layernorm.weight,
    }
    for place, (name, projection) in enumerate(zip(_PROJECTIONS, _projections(module), strict=True)):
        own = routed(projection)
        pair = weight_and_bias(own.base if own else projection)
        if pair is None or (pair[1] is not None and name in _PROJECTIONS[4:]):
            return None
        found[name] = pair[0]
        if pair[1] is not None:
            found[f"{name}_bias"] = pair[1]
        if own and own.router.names:
            loras = _loras(own, held)
            if loras is None:
                return None
            layer.lora[place] = loras
            all_loras.append(loras)
    for name, tensor in found.items():
        setattr(layer, name, tensor.data_ptr())
        held.append(tensor)
    held += all_loras
    return all_loras if all(is_float(tensor) for tensor in found.values()) else None


def _loras(layer: RoutedLayer, held: list[Any]) -> "ctypes.Array[_Lora] | None":
    """Pointers to the adapters of one linear layer; None if their weights do not fit."""
    adapters = layer.adapters()
    loras = (_Lora * len(adapters))()
    for place, adapter in enumerate(adapters):
        if adapter is None:
            continue
        if not is_float(adapter.a) or not is_float(adapter.b):
            return None
        loras[place] = _Lora(adapter.a.data_ptr(), adapter.b.data_ptr(), len(adapter.a), adapter.scale)
        held.extend([adapter.a, adapter.b])
    return loras
