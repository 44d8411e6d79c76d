"""Decoding through transformers' modules, for models without a faster step.

:class:`PrefixDecoding` continues packed prompts from their cached keys. The other three run whole rows:
with one padded cache for all rows, with one cache per row, or without a cache.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypo_engine.forward.attention_mask import DecodePass
from hypo_engine.forward.checkpointing import unwrapped
from hypo_engine.forward.logprobs import Ids, pad
from hypo_engine.forward.packed import Packed, Route, everywhere_the_same, takes_argument
from hypo_engine.forward.structure import positions_by_length


class PrefixDecoding:
    """Responses that continue prompts from their cached keys and values."""

    def __init__(
        self,
        packed: Packed,
        tree: DecodePass,
        positions: Sequence[int],
        logits: Tensor,
        rows: list[int],
        route: Route,
    ) -> None:
        self._packed, self._tree, self._rows, self._route = packed, tree, rows, route
        self._positions = torch.tensor(positions, device=packed.device)
        self.logits = logits

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""
        self._route(self._rows)
        hidden = self._packed.hidden(tokens, self._positions, self._tree)
        self._tree.advance()
        self._positions = self._positions + 1
        self.logits = self._packed.head.logits(hidden)

    def keep(self, rows: Tensor) -> bool:
        """Drop every row but ``rows``."""
        self._tree.keep(rows)
        self._positions, self.logits = self._positions[rows], self.logits[rows]
        self._rows = [self._rows[row] for row in rows.tolist()]
        return True


class CachedDecoding:
    """Responses with one transformers cache for all rows, padded on the left; rows cannot be dropped."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], rows: Sequence[int], pad_id: int, route: Route
    ) -> None:
        self._model, self._rows, self._route = model, rows, route
        ids, self._mask = pad(prompts, pad_id, model.device, left=True)
        self._positions = self._mask.sum(dim=1)
        self._cache: Any = None
        self._run(ids, (self._mask.long().cumsum(dim=1) - 1).clamp(min=0))

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        self._run(tokens[:, None], self._positions[:, None])
        self._positions = self._positions + 1

    def keep(self, rows: Tensor) -> bool:
        """Drop no row: the caches of some models do not support it."""
        return False

    def _run(self, ids: Tensor, positions: Tensor) -> None:
        self._route([row for row in self._rows for _ in range(ids.shape[1])])
        keeps = self._route is everywhere_the_same and takes_argument(self._model, "logits_to_keep")
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask.long(),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            **({"logits_to_keep": 1} if keeps else {}),
        )
        self._cache, self.logits = output.past_key_values, output.logits[:, -1]


class PerRowDecoding:
    """Responses with one cache per row and no padding; each row is a separate call."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], rows: Sequence[int], pad_id: int, route: Route
    ) -> None:
        self._model, self._rows, self._route = model, list(rows), route
        self._caches: list[Any] = [None] * len(rows)
        self.logits = torch.empty(0)
        self._feed([torch.tensor([list(ids)], device=model.device) for ids in prompts])

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""
        self._feed(list(tokens.view(-1, 1, 1)))

    def keep(self, rows: Tensor) -> bool:
        """Drop every row but ``rows``."""
        kept = rows.tolist()
        self._rows = [self._rows[row] for row in kept]
        self._caches = [self._caches[row] for row in kept]
        self.logits = self.logits[rows]
        return True

    def _feed(self, pieces: Sequence[Tensor]) -> None:
        logits = []
        for row, ids in enumerate(pieces):
            self._route([self._rows[row]] * ids.shape[1])
            output = self._model(input_ids=ids, past_key_values=self._caches[row], use_cache=True)
            self._caches[row] = output.past_key_values
            logits.append(output.logits[:, -1])
        self.logits = torch.cat(logits)


class UncachedDecoding:
    """Responses without a cache: each step runs the whole text, for models whose cache is not reliable."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], rows: Sequence[int], pad_id: int, route: Route
    ) -> None:
        self._model, self._rows, self._pad_id, self._route = model, list(rows), pad_id, route
        self._texts = [list(ids) for ids in prompts]
        self._by_length = positions_by_length(unwrapped(model))
        self.logits = torch.empty(0)
        self._read()

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""
        for text, token in zip(self._texts, tokens.tolist(), strict=True):
            text.append(token)
        self._read()

    def keep(self, rows: Tensor) -> bool:
        """Drop every row but ``rows``."""
        kept = rows.tolist()
        self._rows, self._texts = [self._rows[row] for row in kept], [self._texts[row] for row in kept]
        self.logits = self.logits[rows]
        return True

    def _read(self) -> None:
        lengths = [len(text) for text in self._texts]
        groups = rows_by_length(lengths) if self._by_length else [list(range(len(lengths)))]
        found = torch.cat([self._last_logits(group) for group in groups])
        order = torch.tensor([row for group in groups for row in group], device=found.device).argsort()
        self.logits = found[order]

    def _last_logits(self, group: Sequence[int]) -> Tensor:
        """Logits after the last token of rows that run in one batch: [rows, vocabulary]."""
        ids, mask = pad([self._texts[row] for row in group], self._pad_id, self._model.device)
        self._route([self._rows[row] for row in group for _ in range(ids.shape[1])])
        logits: Tensor = self._model(input_ids=ids, use_cache=False).logits
        ends = mask.sum(dim=1) - 1
        return logits[torch.arange(len(ends), device=ends.device), ends]


def rows_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Rows grouped by their length."""
    groups: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        groups.setdefault(length, []).append(row)
    return list(groups.values())
