"""Prompts and completions the plain way: one full, padded sequence a completion, through the whole model.

For architectures whose attention cannot be packed, and for sharded models.
Sequences are padded on the left; positions and masks are always passed.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypo_engine.logprobs import Ids, TokenLogps, pad, selected_logps
from hypo_engine.packed import Route, everywhere_the_same


class Joined:
    """Prompts kept as token ids; each completion is scored on a full sequence of its own."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], *, pad_id: int, route: Route = everywhere_the_same
    ) -> None:
        self._model, self._prompts, self._pad_id, self._route = model, prompts, pad_id, route
        self._device = model.device

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        joined = [
            [*self._prompts[row], *completion] for row, completion in zip(rows, completions, strict=True)
        ]
        ids, mask = pad(joined, self._pad_id, self._device, left=True)
        _, completion_mask = pad(completions, self._pad_id, self._device)
        longest = completion_mask.shape[1]
        self._route([row for row in rows for _ in range(ids.shape[1])])
        output = self._model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=_positions(mask),
            use_cache=False,
            logits_to_keep=longest + 1,
        )
        logits = output.logits[:, -longest - 1 : -1]
        values = selected_logps(logits, ids[:, -longest:], torch.as_tensor(temperature, device=self._device))
        # from the right edge to the left edge
        shift = longest - completion_mask.sum(dim=1, keepdim=True)
        order = (torch.arange(longest, device=self._device) + shift).clamp(max=longest - 1)
        return TokenLogps(values.gather(1, order).masked_fill(~completion_mask, 0.0), completion_mask)

    @torch.no_grad()
    def decoding(self, rows: Sequence[int], limit: int) -> "CachedDecoding":
        return CachedDecoding(
            self._model, [self._prompts[row] for row in rows], list(rows), self._pad_id, self._route
        )


class CachedDecoding:
    """Responses being written with transformers' own cache; rows that have ended stay to the end."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], rows: Sequence[int], pad_id: int, route: Route
    ) -> None:
        self._model, self._rows, self._route = model, rows, route
        ids, self._mask = pad(prompts, pad_id, model.device, left=True)
        self._positions = self._mask.sum(dim=1)
        self._cache: Any = None
        self._run(ids, _positions(self._mask))

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        self._run(tokens[:, None], self._positions[:, None])
        self._positions = self._positions + 1

    def keep(self, rows: Tensor) -> bool:
        """Keeps every row: the caches of some models cannot lose any."""
        return False

    def _run(self, ids: Tensor, positions: Tensor) -> None:
        self._route([row for row in self._rows for _ in range(ids.shape[1])])
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask.long(),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache, self.logits = output.past_key_values, output.logits[:, -1]


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)
