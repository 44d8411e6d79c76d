"""Prompts and completions the plain way: one full sequence a completion, through the whole model.

For architectures whose attention cannot be packed, and for sharded models. Sequences that are scored are
padded on the right, where a causal model cannot see the padding whatever its layers are. No mask and no
positions are passed, so a score is that of the sequence alone. How a model writes several responses at once
is tried when it first does.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hypo_engine.decoding.protocol import Decoding
from hypo_engine.forward.checkpointing import Recomputed
from hypo_engine.forward.logprobs import Ids, TokenLogps, pad, selected_logps
from hypo_engine.forward.packed import Route, base_model, everywhere_the_same
from hypo_engine.forward.structure import positions_by_length
from hypo_engine.forward.trial import Trial, agrees, make_trial, precisely

How = Literal["together", "alone", "anew"]
"""How responses are written: with one padded cache; each with a cache of its own; or without a cache."""

_ways: WeakKeyDictionary[Any, How] = WeakKeyDictionary()


class Joined:
    """Prompts kept as token ids; each completion is scored on a full sequence of its own."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Ids],
        *,
        pad_id: int,
        route: Route = everywhere_the_same,
        decoding: How | None = None,
    ) -> None:
        """decoding: How responses are written; None finds out by trying."""
        self._model, self._prompts, self._pad_id, self._route = model, prompts, pad_id, route
        self._device, self._way = model.device, decoding
        self._apart = positions_by_length(_whole(model))

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        lengths = [len(self._prompts[row]) + len(ids) for row, ids in zip(rows, completions, strict=True)]
        scale = torch.as_tensor(temperature, dtype=torch.float32, device=self._device).reshape(-1)
        scale = scale.expand(len(rows))
        _, mask = pad(completions, self._pad_id, self._device)
        groups = _by_length(lengths) if self._apart else [list(range(len(rows)))]
        scored = [
            self._score(
                [rows[i] for i in group], [completions[i] for i in group], scale[group], mask.shape[1]
            )
            for group in groups
        ]
        order = torch.tensor([place for group in groups for place in group], device=self._device).argsort()
        return TokenLogps(torch.cat(scored)[order], mask)

    def _score(self, rows: Sequence[int], completions: Sequence[Ids], scale: Tensor, width: int) -> Tensor:
        """Log-probabilities of completions that run together, zero behind each: [rows, width]."""
        joined = [[*self._prompts[row], *ids] for row, ids in zip(rows, completions, strict=True)]
        ids, _ = pad(joined, self._pad_id, self._device)
        starts = torch.tensor([len(self._prompts[row]) for row in rows], device=self._device)
        first = int(starts.min()) - 1
        self._route([row for row in rows for _ in range(ids.shape[1])])
        logits = self._logits(ids, first)
        # a target for every position, so that the logits need no copy; the last one has none
        targets = torch.nn.functional.pad(ids[:, first + 1 :], (0, 1))
        values = selected_logps(logits, targets, scale[:, None])
        places = starts[:, None] - 1 - first + torch.arange(width, device=self._device)
        _, mask = pad(completions, self._pad_id, self._device)
        mask = torch.nn.functional.pad(mask, (0, width - mask.shape[1]))
        return values.gather(1, places.clamp(max=values.shape[1] - 1)).masked_fill(~mask, 0.0)

    def _logits(self, ids: Tensor, first: int) -> Tensor:
        """Logits from position ``first`` on: [rows, tokens - first, vocabulary]."""
        if self._route is everywhere_the_same and _takes(self._model, "logits_to_keep"):
            keep = ids.shape[1] - first
            output = self._model(input_ids=ids, use_cache=False, logits_to_keep=keep)
        else:
            output = self._model(input_ids=ids, use_cache=False)
        logits: Tensor = output.logits  # of all tokens where rows have adapters: a head may hold some too
        return logits[:, -(ids.shape[1] - first) :]

    @torch.no_grad()
    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        prompts = [self._prompts[row] for row in rows]
        way = self._way or way_to_decode(self._model, self._pad_id)
        return _decode(way, self._model, prompts, rows, self._pad_id, self._route)


def _by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Places of equal lengths."""
    groups: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        groups.setdefault(length, []).append(place)
    return list(groups.values())


def _takes(model: Any, name: str) -> bool:
    return name in inspect.signature(type(base_model(_whole(model))).forward).parameters


def _whole(model: Any) -> Any:
    """The model itself, where its layers are recomputed too."""
    return model.model if isinstance(model, Recomputed) else model


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
        keeps = self._route is everywhere_the_same and _takes(self._model, "logits_to_keep")
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask.long(),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            **({"logits_to_keep": 1} if keeps else {}),
        )
        self._cache, self.logits = output.past_key_values, output.logits[:, -1]


class AloneDecoding:
    """Responses that are written one beside the other, each with a cache of its own and no padding."""

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
        for place, ids in enumerate(pieces):
            self._route([self._rows[place]] * ids.shape[1])
            output = self._model(input_ids=ids, past_key_values=self._caches[place], use_cache=True)
            self._caches[place] = output.past_key_values
            logits.append(output.logits[:, -1])
        self.logits = torch.cat(logits)


class AnewDecoding:
    """Responses that are read anew, whole, for each token: for models whose state is no cache of keys."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], rows: Sequence[int], pad_id: int, route: Route
    ) -> None:
        self._model, self._rows, self._pad_id, self._route = model, list(rows), pad_id, route
        self._texts, self._apart = [list(ids) for ids in prompts], positions_by_length(_whole(model))
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
        groups = _by_length(lengths) if self._apart else [list(range(len(lengths)))]
        found = torch.cat([self._last_logits(group) for group in groups])
        order = torch.tensor([place for group in groups for place in group], device=found.device).argsort()
        self.logits = found[order]

    def _last_logits(self, group: Sequence[int]) -> Tensor:
        """Logits behind the last token of some rows, which run together: [rows, vocabulary]."""
        ids, mask = pad([self._texts[place] for place in group], self._pad_id, self._model.device)
        self._route([self._rows[place] for place in group for _ in range(ids.shape[1])])
        logits: Tensor = self._model(input_ids=ids, use_cache=False).logits
        ends = mask.sum(dim=1) - 1
        return logits[torch.arange(len(ends), device=ends.device), ends]


def _decode(
    way: How, model: Any, prompts: Sequence[Ids], rows: Sequence[int], pad_id: int, route: Route
) -> Decoding:
    kinds: dict[How, Callable[..., Decoding]] = {
        "together": CachedDecoding,
        "alone": AloneDecoding,
        "anew": AnewDecoding,
    }
    return kinds[way](model, prompts, rows, pad_id, route)


@torch.no_grad()
def way_to_decode(model: Any, pad_id: int) -> How:
    """The fastest way of writing responses that gives the numbers of the model's own forward; tried once."""
    model = _whole(model)
    base = base_model(model)
    if positions_by_length(base):
        return "anew"  # a cache keeps keys whose positions meant something else while the text was shorter
    if base not in _ways:
        with precisely(model) as wide:
            trial = make_trial(model, wide=wide)
            ways: list[How] = ["together", "alone"]
            tried = (way for way in ways if agrees(trial, partial(_written, model, pad_id, way, trial)))
            _ways[base] = next(tried, "anew")
    return _ways[base]


def _written(model: Any, pad_id: int, way: How, trial: Trial) -> list[tuple[Tensor, Tensor]]:
    """Logits behind two tokens that are fed, as a way of decoding gives them and as the model does."""
    prompts = [ids[:-2] for ids in trial.sequences]
    decoding = _decode(way, model, prompts, range(len(prompts)), pad_id, everywhere_the_same)
    found = [decoding.logits]
    for at in (-2, -1):
        decoding.feed(torch.tensor([ids[at] for ids in trial.sequences], device=model.device))
        found.append(decoding.logits)
    expected = [torch.stack([logits[at] for logits in trial.logits]) for at in (-3, -2, -1)]
    return list(zip(found, expected, strict=True))


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)
