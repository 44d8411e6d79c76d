"""Decoding with decode_step.c: all layers of a step in one call, for float32 Llama-like models on a CPU.

The modules show whether a model is Llama-like. Other models, and layers with more than one weight, decode
through transformers' modules. :mod:`hypo_engine.prompts.shared` compares the two once per model.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from hypo_engine.cpu.skinny_gemm import is_float, library
from hypo_engine.forward.attention_mask import PrefixKeys
from hypo_engine.forward.merged_lora import weight_and_bias

_FORMS = frozenset({"LlamaModel", "Qwen2Model"})
"""transformers' model classes that compute what decode_step.c does: Llama's, with or without biases."""

_ROPES = frozenset({"default", "linear", "llama3"})
"""Rotary embeddings whose angles do not depend on the length of the text."""


def _pointers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_void_p) for name in names.split()]


def _counts(names: str) -> list[tuple[str, Any]]:
    return [(name, c_int64) for name in names.split()]


class _Layer(Structure):
    _fields_ = _pointers("norm_in q k v q_bias k_bias v_bias o o_bias norm_out gate up down")


class _Model(Structure):
    _fields_ = [
        *_counts("layers hidden heads kv_heads size inner vocabulary"),
        ("eps", c_float),
        ("scaling", c_float),
        ("layer", POINTER(_Layer)),
        *_pointers("embedding norm head"),
    ]


class _Decoding(Structure):
    _fields_ = [
        *_counts("slots limit longest"),
        *_pointers("lengths prefix_keys prefix_values keys values cosines sines workspace logits"),
    ]


class CompiledStep:
    """decode_step.c for one model.

    Attributes:
        tried: Whether its logits were compared with those of the modules (:class:`.protocol.FastStep`).
    """

    follows_routes = True  # it reads the current weights, and declines if a layer has several

    def __init__(self, body: Any, head: Tensor) -> None:
        self.tried = False
        self._body, self._head = body, head

    @classmethod
    def of(cls, body: Any, head: Tensor) -> "CompiledStep | None":
        """A step for a model's body and head [vocabulary, hidden]; None if decode_step.c does not apply."""
        if type(body).__name__ not in _FORMS or not _is_plain(body) or not is_float(head):
            return None
        return cls(body, head) if len(head) == len(body.embed_tokens.weight) else None

    @torch.no_grad()
    def begin(
        self, prefix: PrefixKeys, rows: Sequence[int], limit: int, logits: Tensor
    ) -> "CompiledDecoding | None":
        """Start responses to the prompts ``rows``, up to ``limit`` tokens each.

        Args:
            logits: [len(rows), vocabulary], for the first token.

        Returns:
            None if a layer now has more than one float32 weight (several adapters, a bfloat16 base), or if
            the machine has no compiler.
        """
        held: list[Tensor] = []
        c = library()
        model = self._model(held) if c else None  # merging weights is slow
        if model is None or c is None:
            return None
        return CompiledDecoding(c, model, self._body.rotary_emb, held, prefix, rows, limit, logits)

    def _model(self, held: list[Tensor]) -> _Model | None:
        """Pointers to the current weights; ``held`` keeps the tensors alive."""
        config = self._body.config
        layers = (_Layer * len(self._body.layers))()
        for layer, module in zip(layers, self._body.layers, strict=True):
            found = _layer_weights(module)
            if found is None:
                return None
            for name, tensor in found.items():
                setattr(layer, name, tensor.data_ptr())
                held.append(tensor)
        first = self._body.layers[0].self_attn
        weights = self._body.embed_tokens.weight, self._body.norm.weight, self._head
        if not all(is_float(weight) for weight in weights):
            return None
        held.extend(weights)
        return _Model(
            len(layers),
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            first.head_dim,
            config.intermediate_size,
            len(self._head),
            config.rms_norm_eps,
            first.scaling,
            layers,
            *(weight.data_ptr() for weight in weights),
        )


class CompiledDecoding:
    """Responses decoded by decode_step.c; see :class:`hypo_engine.decoding.protocol.Decoding`."""

    def __init__(
        self,
        c: ctypes.CDLL,
        model: _Model,
        rotary: Any,
        held: list[Tensor],
        prefix: PrefixKeys,
        rows: Sequence[int],
        limit: int,
        logits: Tensor,
    ) -> None:
        self.logits = logits
        self._step, self._model, self._held = c.hypo_step, model, held
        self._slots, self._written, self._limit = torch.arange(len(rows)), 0, limit
        self._threads = torch.get_num_threads()
        hypo_workspace = c.hypo_workspace
        hypo_workspace.restype = c_int64
        lengths = torch.tensor([prefix.lengths[row] for row in rows])
        longest = int(lengths.max())
        layers = range(model.layers)
        own = torch.empty(2, model.layers, len(rows), limit, model.kv_heads, model.size)
        angles = rotary(own, torch.arange(longest + limit)[None])
        cosines, sines = (x[0, :, : model.size // 2].contiguous() for x in angles)
        space = torch.empty(
            hypo_workspace(byref(model), c_int64(len(rows)), c_int64(longest + limit), self._threads)
        )
        pieces = [prefix.by_prompt(layer) for layer in layers]
        keys, values = (
            [found[which][row].detach().contiguous() for found in pieces for row in rows] for which in (0, 1)
        )
        places = [torch.tensor([x.data_ptr() for x in found]) for found in (keys, values)]
        self._logits = torch.empty(len(rows), model.vocabulary)
        parts = [lengths, *places, own[0], own[1], cosines, sines, space, self._logits]
        held.extend([*keys, *values, *parts])
        self._state = _Decoding(len(rows), limit, longest, *(part.data_ptr() for part in parts))

    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows] int64.

        Raises:
            IndexError: a token is not in the vocabulary, or the length limit is reached.
        """
        if self._written >= self._limit or len(tokens) != len(self._slots):
            raise IndexError(
                f"{self._limit} tokens for each of {len(self._slots)} rows are all there is room for"
            )
        if int(tokens.min()) < 0 or int(tokens.max()) >= self._model.vocabulary:
            raise IndexError(f"a token lies outside the vocabulary of {self._model.vocabulary}")
        tokens = tokens.to(torch.int64).contiguous()
        self._step(
            byref(self._model),
            byref(self._state),
            len(tokens),
            c_void_p(self._slots.data_ptr()),
            c_void_p(tokens.data_ptr()),
            c_int64(self._written),
            self._threads,
        )
        self._written += 1
        self.logits = self._logits[: len(tokens)]

    def keep(self, rows: Tensor) -> bool:
        """Drop every row but ``rows``."""
        self._slots, self.logits = self._slots[rows], self.logits[rows]
        return True


def _is_plain(body: Any) -> bool:
    """Whether a body's configuration has no option that changes what its class computes."""
    config, layers = body.config, body.layers
    windows = any(getattr(layer.self_attn, "sliding_window", None) for layer in layers)
    norms = [norm for layer in layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)]
    return (
        config.hidden_act == "silu"
        and getattr(body.rotary_emb, "rope_type", "") in _ROPES
        and not windows
        and len(layers) == config.num_hidden_layers
        and all(is_float(norm.weight) for norm in (*norms, body.norm))
        and is_float(body.embed_tokens.weight)
    )


def _layer_weights(module: Any) -> dict[str, Tensor] | None:
    """The tensors that decode_step.c's ``Layer`` points to; missing biases are omitted."""
    attention, mlp = module.self_attn, module.mlp
    found = {"norm_in": module.input_layernorm.weight, "norm_out": module.post_attention_layernorm.weight}
    projections = {"q": attention.q_proj, "k": attention.k_proj, "v": attention.v_proj, "o": attention.o_proj}
    gated = {"gate": mlp.gate_proj, "up": mlp.up_proj, "down": mlp.down_proj}
    for name, layer in (projections | gated).items():
        pair = weight_and_bias(layer)
        if pair is None or (pair[1] is not None and name in gated):
            return None
        found[name] = pair[0]
        if pair[1] is not None:
            found[f"{name}_bias"] = pair[1]
    return found if all(is_float(tensor) for tensor in found.values()) else None
