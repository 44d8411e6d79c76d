"""Decoding on a GPU with CUDA graphs: the kernels of a step are recorded once and replayed.

A step of few rows consists of hundreds of small kernels, and launching them one by one takes longer than
running them. A recorded step may not change shapes or addresses. The key/value cache is therefore
allocated at its full length, the position is a tensor, and finished rows stay in the batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypo_engine.decoding.protocol import Decoding
from hypo_engine.forward.attention_mask import DecodePass, PrefixKeys, tokens_of
from hypo_engine.forward.interface import AttentionOptions
from hypo_engine.forward.packed import Packed

_WARM = 2


class RecordedStep:
    """Recorded decoding of one model on a GPU; on other devices the same steps run without recording.

    Attributes:
        tried: Whether its logits were compared with those of the modules (:class:`.protocol.FastStep`).
    """

    follows_routes = False  # the assignment of adapters to rows would be recorded too

    def __init__(self, packed: Packed) -> None:
        self.tried = False
        self._packed, self._recordable = packed, packed.device.type == "cuda"

    @torch.no_grad()
    def begin(self, prefix: PrefixKeys, rows: Sequence[int], limit: int, logits: Tensor) -> Decoding | None:
        """Start responses to the prompts ``rows``; None if the model's kernels cannot be recorded."""
        decoding = RecordedDecoding(
            self._packed, StaticPass(prefix, rows, limit), prefix, rows, limit, logits
        )
        if self._recordable:
            try:
                decoding.record()
            except RuntimeError:  # a kernel that synchronizes with the CPU, or too little memory
                self._recordable = False
        return decoding if self._recordable or self._packed.device.type != "cuda" else None


class StaticPass(DecodePass):
    """Growing responses with static shapes: all columns are read, and future ones are masked."""

    def __init__(self, prefix: PrefixKeys, prompts: Sequence[int], capacity: int) -> None:
        super().__init__(prefix, prompts, capacity)
        keys = next(iter(self._keys.values()))
        lengths = torch.tensor([prefix.lengths[prompt] for prompt in prompts], device=keys.device)
        self._columns = torch.arange(keys.shape[2], device=keys.device)
        self._first = self._at - lengths[:, None]
        self.now = torch.full((1,), self._at, device=keys.device)
        self._hidden: dict[int | None, Tensor] = {}

    def start(self) -> None:
        """Begin a step: the masks are recomputed."""
        self._hidden.clear()

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        rows, heads, size = query.shape[2], query.shape[1], query.shape[3]
        keys = self._keys[layer].index_copy_(2, self.now, tokens_of(key)[:, :, None])
        values = self._values[layer].index_copy_(2, self.now, tokens_of(value)[:, :, None])
        scores = (tokens_of(query) * options.scaling).reshape(rows, key.shape[1], -1, size) @ keys.transpose(
            -1, -2
        )
        if options.softcap is not None:
            scores = (scores / options.softcap).tanh() * options.softcap
        scores = scores.masked_fill(self._hidden_from(options.window), float("-inf"))
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return (weights @ values).reshape(1, rows, heads, -1)

    def _hidden_from(self, window: int | None) -> Tensor:
        """[rows, 1, 1, columns] bool, computed once per step for all layers with the same window."""
        if window not in self._hidden:
            hidden = (self._columns < self._first) | (self._columns > self.now)
            if window is not None:
                hidden |= self._columns <= self.now - window
            self._hidden[window] = hidden[:, None, None]
        return self._hidden[window]


class RecordedDecoding:
    """Responses decoded by a recorded step; see :class:`hypo_engine.decoding.protocol.Decoding`."""

    def __init__(
        self,
        packed: Packed,
        tree: StaticPass,
        prefix: PrefixKeys,
        rows: Sequence[int],
        limit: int,
        logits: Tensor,
    ) -> None:
        self.logits = logits
        self._packed, self._tree = packed, tree
        self._positions = torch.tensor([prefix.lengths[row] for row in rows], device=packed.device)
        self._tokens = torch.zeros_like(self._positions)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._found, self._left = logits, limit

    def record(self) -> None:
        """Record a step for replay.

        Raises:
            RuntimeError: the model does something that a CUDA graph cannot record.
        """
        begun = self._positions.clone(), self._tree.now.clone()
        stream: Any = torch.cuda.Stream(self._packed.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._packed.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM):  # libraries initialize on first use
                self._step()
                self._positions.copy_(begun[0])
                self._tree.now.copy_(begun[1])
        torch.cuda.current_stream(self._packed.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self._graph = graph

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows].

        Raises:
            IndexError: the length limit is reached.
        """
        if self._left == 0:
            raise IndexError("rows already have all the tokens there is room for")
        self._left -= 1
        self._tokens.copy_(tokens)
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()
        self.logits = self._found

    def keep(self, rows: Tensor) -> bool:
        """Drop no row: the shapes are recorded."""
        return False

    def _step(self) -> None:
        self._tree.start()
        hidden = self._packed.hidden(self._tokens, self._positions, self._tree)
        self._found = self._packed.head.logits(hidden)
        self._positions.add_(1)
        self._tree.now.add_(1)
