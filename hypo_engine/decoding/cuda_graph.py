"""Decoding on a GPU with the kernels of a step recorded once and replayed (CUDA graphs).

A step of few rows is hundreds of small kernels, and starting them one by one takes longer than running them.
A recorded step may not change its shapes or places, so keys have their room from the start, the position is a
tensor, and rows that have ended stay in the batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypo_engine.decoding.protocol import Decoding
from hypo_engine.forward.interface import How
from hypo_engine.forward.packed import Packed
from hypo_engine.forward.visibility import DecodePass, PrefixKeys, tokens_of

_WARM = 2


class RecordedStep:
    """Recorded decoding for one model on a GPU; on other devices the same steps, not recorded.

    Attributes:
        tried: Whether its numbers were held against the modules' (:class:`.protocol.FastStep`).
    """

    follows_routes = False  # which rows have which adapter would be recorded too

    def __init__(self, packed: Packed) -> None:
        self.tried = False
        self._packed, self._recordable = packed, packed.device.type == "cuda"

    @torch.no_grad()
    def begin(self, prefix: PrefixKeys, rows: Sequence[int], limit: int, logits: Tensor) -> Decoding | None:
        """Responses to the prompts ``rows``; None if the model's kernels cannot be recorded."""
        decoding = RecordedDecoding(
            self._packed, StaticPass(prefix, rows, limit), prefix, rows, limit, logits
        )
        if self._recordable:
            try:
                decoding.record()
            except RuntimeError:  # a kernel that waits for the processor, or memory for two
                self._recordable = False
        return decoding if self._recordable or self._packed.device.type != "cuda" else None


class StaticPass(DecodePass):
    """Responses that grow, always with the same shapes: all columns are read and those ahead are hidden."""

    def __init__(self, prefix: PrefixKeys, prompts: Sequence[int], capacity: int) -> None:
        super().__init__(prefix, prompts, capacity)
        keys = next(iter(self._keys.values()))
        lengths = torch.tensor([prefix.lengths[prompt] for prompt in prompts], device=keys.device)
        self._columns = torch.arange(keys.shape[2], device=keys.device)
        self._first = self._at - lengths[:, None]
        self.now = torch.full((1,), self._at, device=keys.device)
        self._hidden: dict[int | None, Tensor] = {}

    def start(self) -> None:
        """A step begins: what is hidden is found anew."""
        self._hidden.clear()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        rows, heads, size = query.shape[2], query.shape[1], query.shape[3]
        keys = self._keys[layer].index_copy_(2, self.now, tokens_of(key)[:, :, None])
        values = self._values[layer].index_copy_(2, self.now, tokens_of(value)[:, :, None])
        scores = (tokens_of(query) * how.scaling).reshape(rows, key.shape[1], -1, size) @ keys.transpose(
            -1, -2
        )
        if how.softcap is not None:
            scores = (scores / how.softcap).tanh() * how.softcap
        scores = scores.masked_fill(self._hidden_from(how.window), float("-inf"))
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return (weights @ values).reshape(1, rows, heads, size)

    def _hidden_from(self, window: int | None) -> Tensor:
        """[rows, 1, 1, columns] bool, once a step for all layers of a kind."""
        if window not in self._hidden:
            hidden = (self._columns < self._first) | (self._columns > self.now)
            if window is not None:
                hidden |= self._columns <= self.now - window
            self._hidden[window] = hidden[:, None, None]
        return self._hidden[window]


class RecordedDecoding:
    """Responses being written; see :class:`hypo_engine.decoding.protocol.Decoding`."""

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
        """Record a step, which is then only replayed.

        Raises:
            RuntimeError: the model does something that cannot be recorded.
        """
        begun = self._positions.clone(), self._tree.now.clone()
        stream: Any = torch.cuda.Stream(self._packed.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._packed.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM):  # libraries prepare themselves when first used
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
            IndexError: there is no room for more.
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
        """Rows stay: shapes are recorded."""
        return False

    def _step(self) -> None:
        self._tree.start()
        hidden = self._packed.hidden(self._tokens, self._positions, self._tree)
        self._found = self._packed.head.logits(hidden)
        self._positions.add_(1)
        self._tree.now.add_(1)
