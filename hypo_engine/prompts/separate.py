"""Prompts and completions as separate sequences: one whole sequence per completion.

For architectures that cannot be packed, and for sharded models. Scored sequences are padded on the right,
where padding cannot affect a causal model. No mask and no positions are passed, so a score equals that of
the sequence alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypo_engine.decoding.caching import Caching, choose_caching, start_decoding
from hypo_engine.decoding.modules import rows_by_length
from hypo_engine.decoding.protocol import Decoding
from hypo_engine.forward.checkpointing import unwrapped
from hypo_engine.forward.logprobs import Ids, TokenLogps, TopLogps, chunks, pad, selected_logps, top_logps
from hypo_engine.forward.packed import Route, everywhere_the_same, takes_argument
from hypo_engine.forward.structure import positions_by_length


class SeparateSequences:
    """Prompts as token ids; each completion is scored as a full sequence."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Ids],
        *,
        pad_id: int,
        route: Route = everywhere_the_same,
        caching: Caching | None = None,
    ) -> None:
        """caching: The cache for decoding; None finds out which one is correct."""
        self._model, self._prompts, self._pad_id, self._route = model, prompts, pad_id, route
        self._device, self._caching = model.device, caching
        self._by_length = positions_by_length(unwrapped(model))

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        """Score each completion after its prompt; see :meth:`.encoder.Encoded.score`."""
        return self._scored(rows, completions, temperature, hidden=False)[0]

    def score_with_hidden(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> tuple[TokenLogps, Tensor]:
        """Score completions; see :meth:`.encoder.Encoded.score_with_hidden`."""
        logps, hidden = self._scored(rows, completions, temperature, hidden=True)
        assert hidden is not None
        return logps, hidden[logps.mask]

    def _scored(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float, *, hidden: bool
    ) -> tuple[TokenLogps, Tensor | None]:
        """The log-probabilities of the completions and, if wanted, hidden states [rows, width, hidden]."""
        lengths = [len(self._prompts[row]) + len(ids) for row, ids in zip(rows, completions, strict=True)]
        scale = torch.as_tensor(temperature, dtype=torch.float32, device=self._device).reshape(-1)
        scale = scale.expand(len(rows))
        _, mask = pad(completions, self._pad_id, self._device)
        groups = rows_by_length(lengths) if self._by_length else [list(range(len(rows)))]
        found = [
            self._score(
                [rows[i] for i in group], [completions[i] for i in group], scale[group], mask, hidden=hidden
            )
            for group in groups
        ]
        order = torch.tensor([i for group in groups for i in group], device=self._device).argsort()
        values = torch.cat([values for values, _ in found])[order]
        states = [states for _, states in found if states is not None]
        return TokenLogps(values, mask), torch.cat(states)[order] if states else None

    @torch.no_grad()
    def top_logps(self, rows: Sequence[int], completions: Sequence[Ids], k: int) -> list[TopLogps]:
        """Score completions one by one; see :meth:`.encoder.Encoded.top_logps`.

        The model returns the logits of one completion in its own dtype; only chunks of them are in float32.
        """
        return [self._top_logps(row, ids, k) for row, ids in zip(rows, completions, strict=True)]

    def _top_logps(self, row: int, completion: Ids, k: int) -> TopLogps:
        prompt = self._prompts[row]
        ids = torch.tensor([[*prompt, *completion]], device=self._device)
        self._route([row] * ids.shape[1])
        logits = self._logits(ids, len(prompt) - 1)[0, :-1]
        return top_logps((logits[chunk] for chunk in chunks(logits)), ids[0, len(prompt) :], k)

    def last_hidden(self, rows: Sequence[int], completions: Sequence[Ids]) -> Tensor:
        """Hidden states at the ends of the sequences; see :meth:`.encoder.Encoded.last_hidden`."""
        sequences = [[*self._prompts[row], *ids] for row, ids in zip(rows, completions, strict=True)]
        lengths = [len(ids) for ids in sequences]
        groups = rows_by_length(lengths) if self._by_length else [list(range(len(rows)))]
        found = [self._ends(rows, [sequences[i] for i in group]) for group in groups]
        order = torch.tensor([i for group in groups for i in group], device=self._device).argsort()
        return torch.cat(found)[order]

    @torch.no_grad()
    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        """Start decoding after the prompts ``rows``, without autograd."""
        prompts = [self._prompts[row] for row in rows]
        caching = self._caching or choose_caching(self._model, self._pad_id)
        return start_decoding(caching, self._model, prompts, rows, self._pad_id, self._route)

    def _score(
        self, rows: Sequence[int], completions: Sequence[Ids], scale: Tensor, whole: Tensor, *, hidden: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of completions in one batch, zero-padded, and hidden states if wanted.

        Args:
            whole: The mask of all batches, for its width.
        """
        width = whole.shape[1]
        sequences = [[*self._prompts[row], *ids] for row, ids in zip(rows, completions, strict=True)]
        ids, _ = pad(sequences, self._pad_id, self._device)
        starts = torch.tensor([len(self._prompts[row]) for row in rows], device=self._device)
        first = int(starts.min()) - 1
        self._route([row for row in rows for _ in range(ids.shape[1])])
        logits, states = self._run(ids, first, hidden=hidden)
        # a target for every position, so that the logits need no copy; the last position has none
        targets = torch.nn.functional.pad(ids[:, first + 1 :], (0, 1))
        values = selected_logps(logits, targets, scale[:, None])
        columns = starts[:, None] - 1 - first + torch.arange(width, device=self._device)
        _, mask = pad(completions, self._pad_id, self._device)
        mask = torch.nn.functional.pad(mask, (0, width - mask.shape[1]))
        columns = columns.clamp(max=values.shape[1] - 1)
        if states is not None:
            states = states[torch.arange(len(rows), device=self._device)[:, None], columns]
        return values.gather(1, columns).masked_fill(~mask, 0.0), states

    def _ends(self, rows: Sequence[int], sequences: Sequence[Ids]) -> Tensor:
        """Hidden states at the ends of sequences in one batch: [rows, hidden]."""
        ids, mask = pad(sequences, self._pad_id, self._device)
        keep = {"logits_to_keep": 1} if takes_argument(self._model, "logits_to_keep") else {}
        output = self._model(input_ids=ids, use_cache=False, output_hidden_states=True, **keep)
        hidden: Tensor = output.hidden_states[-1]
        return hidden[torch.arange(len(ids), device=self._device), mask.sum(dim=1) - 1]

    def _logits(self, ids: Tensor, first: int) -> Tensor:
        """Logits from position ``first`` on: [rows, tokens - first, vocabulary]."""
        return self._run(ids, first, hidden=False)[0]

    def _run(self, ids: Tensor, first: int, *, hidden: bool) -> tuple[Tensor, Tensor | None]:
        """Logits from position ``first`` on, and the last hidden states there if wanted."""
        wanted = ids.shape[1] - first
        options: dict[str, Any] = {"output_hidden_states": True} if hidden else {}
        if self._route is everywhere_the_same and takes_argument(self._model, "logits_to_keep"):
            options["logits_to_keep"] = wanted
        output = self._model(input_ids=ids, use_cache=False, **options)
        logits: Tensor = output.logits  # of all tokens if rows have adapters: the head may have one too
        return logits[:, -wanted:], output.hidden_states[-1][:, -wanted:] if hidden else None
