"""One prompt trunk, many branches: prompts are encoded once and every completion runs on their cache.

HyPO scores a prompt with its chosen, its rejected and k sampled responses, and decodes the samples
from the same prompt. The trunk's keys and values serve all of that; the graph is kept, so gradients
of the branches flow back into the prompt. :class:`Joined` does the same work the plain way, one full
sequence a completion, for architectures whose cache cannot be shared and for gradient checkpointing.
Prompts are padded on the left, so distances between positions equal distances in the cache, which
sliding windows need; positions and masks are always passed.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from hypo_engine.logprobs import TokenLogps, pad, selected_logps

Ids = Sequence[int]


class Encoded(Protocol):
    """Prompts ready to be scored with completions, or continued."""

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        """Score ``completions[i]`` after prompt ``rows[i]``; temperature: [len(rows), 1] or a number."""

    def decoding(self, rows: Sequence[int]) -> "Decoding":
        """Start to continue the prompts ``rows``, without a graph."""


@dataclass
class Decoding:
    """The state of responses being written, one token a row at a time.

    Attributes:
        logits: [rows, vocab], the distribution of each row's next token.
        mask: [rows, tokens so far] bool.
        positions: [rows], the position of each row's next token.
        extra: Keyword arguments of the model with one entry a row (PEFT's ``adapter_names``).
    """

    model: Any
    cache: Any
    mask: Tensor
    positions: Tensor
    logits: Tensor
    droppable: bool
    extra: dict[str, list[Any]] = field(default_factory=dict)

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        output = self.model(
            input_ids=tokens[:, None],
            attention_mask=self.mask.long(),
            position_ids=self.positions[:, None],
            past_key_values=self.cache,
            use_cache=True,
            **self.extra,
        )
        self.cache, self.logits = output.past_key_values, output.logits[:, -1]
        self.positions = self.positions + 1

    def keep(self, rows: Tensor) -> None:
        """Drop every row but ``rows`` (indices, in order)."""
        self.cache = fork_cache(self.cache, rows, detach=True)
        self.mask, self.positions, self.logits = self.mask[rows], self.positions[rows], self.logits[rows]
        self.extra = _pick(self.extra, rows.tolist())


class Trunk:
    """Prompts encoded once, their cache shared by every branch."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], *, pad_id: int, extra: Mapping[str, list[Any]] | None = None
    ) -> None:
        self._model, self._pad_id, self._extra = model, pad_id, dict(extra or {})
        self._device = model.device
        ids, self._mask = pad(prompts, pad_id, self._device, left=True)
        self._lengths = self._mask.sum(dim=1)
        output = model(
            input_ids=ids,
            attention_mask=self._mask.long(),
            position_ids=_positions(self._mask),
            use_cache=True,
            logits_to_keep=1,
            **self._extra,
        )
        self._cache, self._next_logits = output.past_key_values, output.logits[:, -1]

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        ids, mask = pad(completions, self._pad_id, self._device)
        index = torch.tensor(rows, device=self._device)
        temperature = torch.as_tensor(temperature, device=self._device)
        first = selected_logps(self._next_logits[index][:, None], ids[:, :1], temperature)
        if ids.shape[1] == 1:
            return TokenLogps(first, mask)
        output = self._model(
            input_ids=ids[:, :-1],
            attention_mask=torch.cat([self._mask[index], mask[:, :-1]], dim=1).long(),
            # a padded position repeats the last one: it must not pass the end of learned positions
            position_ids=self._lengths[index, None] + mask[:, :-1].long().cumsum(dim=1) - 1,
            past_key_values=fork_cache(self._cache, index, detach=False),
            use_cache=True,
            **_pick(self._extra, rows),
        )
        rest = selected_logps(output.logits, ids[:, 1:], temperature)
        return TokenLogps(torch.cat([first, rest], dim=1).masked_fill(~mask, 0.0), mask)

    def decoding(self, rows: Sequence[int]) -> Decoding:
        index = torch.tensor(rows, device=self._device)
        return Decoding(
            model=self._model,
            cache=fork_cache(self._cache, index, detach=True),
            mask=self._mask[index],
            positions=self._lengths[index],
            logits=self._next_logits.detach()[index],
            droppable=True,
            extra=_pick(self._extra, rows),
        )


class Joined:
    """Prompts kept as token ids; each completion is scored on a full sequence of its own."""

    def __init__(
        self, model: Any, prompts: Sequence[Ids], *, pad_id: int, extra: Mapping[str, list[Any]] | None = None
    ) -> None:
        self._model, self._prompts, self._pad_id, self._extra = model, prompts, pad_id, dict(extra or {})
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
        output = self._model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=_positions(mask),
            use_cache=False,
            logits_to_keep=longest + 1,
            **_pick(self._extra, rows),
        )
        logits = output.logits[:, -longest - 1 : -1]
        values = selected_logps(logits, ids[:, -longest:], torch.as_tensor(temperature, device=self._device))
        # from the right edge to the left edge
        shift = longest - completion_mask.sum(dim=1, keepdim=True)
        order = (torch.arange(longest, device=self._device) + shift).clamp(max=longest - 1)
        return TokenLogps(values.gather(1, order).masked_fill(~completion_mask, 0.0), completion_mask)

    @torch.no_grad()
    def decoding(self, rows: Sequence[int]) -> Decoding:
        ids, mask = pad([self._prompts[row] for row in rows], self._pad_id, self._device, left=True)
        extra = _pick(self._extra, rows)
        output = self._model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=_positions(mask),
            use_cache=True,
            logits_to_keep=1,
            **extra,
        )
        return Decoding(
            model=self._model,
            cache=output.past_key_values,
            mask=mask,
            positions=mask.sum(dim=1),
            logits=output.logits[:, -1],
            droppable=False,
            extra=extra,
        )


def fork_cache(cache: Any, rows: Tensor, *, detach: bool) -> Any:
    """A new cache holding ``rows`` of another (repeats allowed), with its graph or without.

    Raises:
        TypeError: a layer keeps something other than keys and values, so rows cannot be told apart.
    """
    forked = copy.copy(cache)
    forked.layers = []
    for layer in cache.layers:
        if not hasattr(layer, "keys") or hasattr(layer, "recurrent_states") or hasattr(layer, "conv_states"):
            raise TypeError(f"{type(layer).__name__} is not a cache of keys and values")
        copied = copy.copy(layer)
        for name in ("keys", "values"):
            tensor = getattr(layer, name)
            setattr(copied, name, (tensor.detach() if detach else tensor).index_select(0, rows))
        forked.layers.append(copied)
    return forked


@torch.no_grad()
def trunk_agrees(model: Any, *, pad_id: int) -> bool:
    """Whether the shared trunk gives what full sequences give on this model, tried on a few tokens."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = [(7 * i + 3) % vocabulary for i in range(16)]
    prompts, rows, completions = [ids[:5], ids[5:8]], [0, 0, 1], [ids[8:12], ids[9:11], ids[11:14]]
    expected = Joined(model, prompts, pad_id=pad_id).score(rows, completions).values
    try:
        found = Trunk(model, prompts, pad_id=pad_id).score(rows, completions).values
    except (TypeError, AttributeError, ValueError, RuntimeError, IndexError):
        return False
    tolerance = 1e-3 if next(model.parameters()).dtype == torch.float32 else 0.25
    return bool(torch.allclose(found, expected, atol=tolerance, rtol=0.02))


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def _pick(extra: Mapping[str, list[Any]], rows: Sequence[int]) -> dict[str, list[Any]]:
    return {name: [values[row] for row in rows] for name, values in extra.items()}
