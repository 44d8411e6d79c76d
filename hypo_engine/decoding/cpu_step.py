"""Decoding with decode_step.h: all layers of a step in one call, for Llama-like models on a CPU.

Weights are float32, or bfloat16 on a processor with AMX; everything else is float32.

The modules show whether a model is Llama-like. Other models decode through transformers' modules.
:mod:`hypo_engine.prompts.shared` compares the two once per model. Rows may have LoRA adapters of their own.
"""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, byref, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from hypo_engine.cpu.skinny_gemm import is_float, library
from hypo_engine.decoding.cpu_weights import Weights, counts, pointers
from hypo_engine.forward.attention_mask import PrefixKeys

_FORMS = frozenset({"LlamaModel", "Qwen2Model"})
"""transformers' model classes that compute what decode_step.c does: Llama's, with or without biases."""

_ROPES = frozenset({"default", "linear", "llama3"})
"""Rotary embeddings whose angles do not depend on the length of the text."""


class _Decoding(Structure):
    _fields_ = [
        *counts("slots limit longest adapters ranks"),
        *pointers("adapter lengths prefix_keys prefix_values keys values cosines sines workspace logits"),
    ]


class CompiledStep:
    """decode_step.c for one model.

    Attributes:
        tried: Whether its logits were compared with those of the modules (:class:`.protocol.FastStep`).
    """

    follows_routes = True  # it reads the present weights and adapters

    def __init__(self, body: Any, head: Tensor) -> None:
        self.tried = False
        self._body, self._head = body, head

    @classmethod
    def of(cls, body: Any, head: Tensor) -> "CompiledStep | None":
        """A step for a model's body and head [vocabulary, hidden]; None if decode_step.c does not apply."""
        if type(body).__name__ not in _FORMS or not _is_plain(body) or head.device.type != "cpu":
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
            None if a layer's weights are not matrices and adapters now, or if the machine has no code for
            their dtype.
        """
        c = library(self._head.dtype)
        weights = Weights.of(self._body, self._head, len(rows)) if c else None  # merging weights is slow
        if weights is None or c is None:
            return None
        return CompiledDecoding(c, weights, self._body.rotary_emb, prefix, rows, limit, logits)


class CompiledDecoding:
    """Responses decoded by decode_step.c; see :class:`hypo_engine.decoding.protocol.Decoding`."""

    def __init__(
        self,
        c: ctypes.CDLL,
        weights: Weights,
        rotary: Any,
        prefix: PrefixKeys,
        rows: Sequence[int],
        limit: int,
        logits: Tensor,
    ) -> None:
        self.logits = logits
        model, ranks = weights.model, weights.ranks
        count = weights.count
        self._step, self._weights, self._model = c.hypo_step, weights, model
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
            hypo_workspace(
                byref(model),
                *(c_int64(size) for size in (len(rows), longest + limit, count * ranks)),
                self._threads,
            )
        )
        pieces = [prefix.by_prompt(layer) for layer in layers]
        keys, values = (
            [found[which][row].detach().contiguous() for found in pieces for row in rows] for which in (0, 1)
        )
        places = [torch.tensor([x.data_ptr() for x in found]) for found in (keys, values)]
        self._logits = torch.empty(len(rows), model.vocabulary)
        parts = [weights.adapters, lengths, *places, own[0], own[1], cosines, sines, space, self._logits]
        self._held = [*keys, *values, *parts]
        self._state = _Decoding(len(rows), limit, longest, count, ranks, *(part.data_ptr() for part in parts))

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
    )
