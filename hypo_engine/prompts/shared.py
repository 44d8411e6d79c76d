"""Prompts as shared prefixes: each is encoded once, and all its completions attend to its keys and values.

HyPO scores a prompt with its chosen, its rejected and k sampled responses, and decodes the samples from
the same prompt. All of that uses one encoding, whose autograd graph is kept, so the completions' gradients
reach the prompt. All tokens stand in one packed row without padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.decoding.decoder import Decoder
from hypo_engine.decoding.modules import PrefixDecoding
from hypo_engine.decoding.protocol import Decoding, FastStep, same_logits
from hypo_engine.forward.attention_mask import (
    CompletionPass,
    DecodePass,
    PrefixKeys,
    PrefixPass,
    TreePass,
    starts,
)
from hypo_engine.forward.interface import Pass
from hypo_engine.forward.logprobs import Ids, TokenLogps, TopLogps
from hypo_engine.forward.packed import Route, everywhere_the_same
from hypo_engine.forward.phases import phase


class SharedPrefix:
    """Prompts encoded once, shared by every completion.

    Encoding is lazy. If scoring comes first, prompts and completions share one packed forward pass, so
    every weight is read once for both. Later calls use the cached keys and values.
    """

    def __init__(
        self, packed: Decoder, prompts: Sequence[Ids], *, route: Route = everywhere_the_same
    ) -> None:
        self._packed, self._route = packed, route
        self._prompts = PackedSequences.of(range(len(prompts)), prompts, [0] * len(prompts))
        self._keys = PrefixKeys(self._prompts.lengths)
        ends = zip(starts(self._prompts.lengths), self._prompts.lengths, strict=True)
        self._ends = [start + length - 1 for start, length in ends]
        self._last: Tensor | None = None

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        """Score each completion after its prompt; see :meth:`.encoder.Encoded.score`."""
        return self.score_with_hidden(rows, completions, temperature)[0]

    def score_with_hidden(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> tuple[TokenLogps, Tensor]:
        """Score completions; see :meth:`.encoder.Encoded.score_with_hidden`."""
        device = self._packed.device
        hidden = self._before_each_token(rows, completions)
        lengths = [len(completion) for completion in completions]
        targets = torch.tensor([t for completion in completions for t in completion], device=device)
        count = torch.tensor(lengths, device=device)
        scale = torch.as_tensor(temperature, dtype=torch.float32, device=device)
        scale = scale.reshape(-1).expand(len(lengths)).repeat_interleave(count)
        logps = self._packed.logps(hidden, targets, scale)
        mask = torch.arange(max(lengths), device=device) < count[:, None]
        values = torch.zeros(mask.shape, dtype=torch.float32, device=device)
        return TokenLogps(values.masked_scatter(mask, logps), mask), hidden

    @torch.no_grad()
    def top_logps(self, rows: Sequence[int], completions: Sequence[Ids], k: int) -> list[TopLogps]:
        """Score completions with the likeliest tokens; see :meth:`.encoder.Encoded.top_logps`."""
        targets = self._index([token for completion in completions for token in completion])
        found = self._packed.head.top_logps(self._before_each_token(rows, completions), targets, k)
        return found.split([len(completion) for completion in completions])

    def last_hidden(self, rows: Sequence[int], completions: Sequence[Ids]) -> Tensor:
        """Hidden states at the ends of the completions; see :meth:`.encoder.Encoded.last_hidden`."""
        packed = PackedSequences.of(rows, completions, [self._prompts.lengths[row] for row in rows])
        if self._last is None:
            with phase("forward"):
                tree = TreePass(self._keys, packed.rows, packed.lengths)
                hidden = self._hidden(self._prompts + packed, tree)
            self._last, begin = hidden[self._index(self._ends)], sum(self._prompts.lengths)
        else:
            with phase("completions"):
                hidden = self._hidden(packed, CompletionPass(self._keys, packed.rows, packed.lengths))
            begin = 0
        ends = zip(starts(packed.lengths), packed.lengths, strict=True)
        return hidden.index_select(0, self._index([begin + start + length - 1 for start, length in ends]))

    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        """Start to continue the prompts ``rows``, without a graph."""
        last = self._encoded()
        with torch.no_grad():
            logits = self._packed.head.logits(last.detach()[list(rows)])
            return self._fast_decoding(rows, limit, logits) or self._through_modules(rows, limit, logits)

    def _encoded(self) -> Tensor:
        """Hidden states at the ends of the prompts, [prompts, hidden]."""
        if self._last is None:
            with phase("prefix"):
                self._last = self._hidden(self._prompts, PrefixPass(self._keys))[self._index(self._ends)]
        return self._last

    def _before_each_token(self, rows: Sequence[int], completions: Sequence[Ids]) -> Tensor:
        """Hidden states that predict the completions' tokens; the prompt's end predicts the first one."""
        inputs = [completion[:-1] for completion in completions]  # the last token predicts nothing
        longer = [i for i, ids in enumerate(inputs) if ids]
        packed = PackedSequences.of(
            [rows[i] for i in longer],
            [inputs[i] for i in longer],
            [self._prompts.lengths[rows[i]] for i in longer],
        )
        if not longer:
            hidden, ends, begin = self._encoded(), list(range(len(self._ends))), 0
        elif self._last is None:
            with phase("forward"):
                both = TreePass(self._keys, packed.rows, packed.lengths)
                hidden = self._hidden(self._prompts + packed, both)
            ends, begin = self._ends, sum(self._prompts.lengths)
            self._last = hidden[self._index(ends)]
        else:
            with phase("completions"):
                found = self._hidden(packed, CompletionPass(self._keys, packed.rows, packed.lengths))
            hidden, begin = torch.cat([self._last, found]), len(self._ends)
            ends = list(range(begin))
        order = list[int]()
        for row, ids in zip(rows, inputs, strict=True):
            order += [ends[row], *range(begin, begin + len(ids))]
            begin += len(ids)
        return hidden.index_select(0, self._index(order))

    def _hidden(self, sequences: "PackedSequences", tree: Pass) -> Tensor:
        """The last hidden states of packed tokens, [tokens, hidden]."""
        lengths = zip(sequences.rows, sequences.lengths, strict=True)
        self._route([row for row, length in lengths for _ in range(length)])
        return self._packed.hidden(sequences.ids, sequences.positions, tree)

    def _index(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor(tokens, device=self._packed.device)

    def _fast_decoding(self, rows: Sequence[int], limit: int, logits: Tensor) -> Decoding | None:
        """The model's faster step, if it has one that agrees with the modules (tested once)."""
        step = self._packed.step
        if step is None or not (step.follows_routes or self._route is everywhere_the_same):
            return None
        self._route(rows)
        if not step.tried and not self._agrees(step, rows, logits):
            self._packed.step = None
            return None
        return step.begin(self._keys, rows, limit, logits)

    def _agrees(self, step: FastStep, rows: Sequence[int], logits: Tensor) -> bool:
        """Whether a faster step agrees with the modules."""
        one = step.begin(self._keys, rows, 1, logits)
        if one is None:
            return True
        step.tried, exact = True, self._packed.head.weight.dtype == torch.float32
        return same_logits(one, self._through_modules(rows, 1, logits), logits.argmax(dim=-1), exact=exact)

    def _through_modules(self, rows: Sequence[int], limit: int, logits: Tensor) -> PrefixDecoding:
        """Decoding through transformers' modules."""
        positions = [self._prompts.lengths[row] for row in rows]
        tree = DecodePass(self._keys, rows, limit)
        return PrefixDecoding(self._packed, tree, positions, logits, list(rows), self._route)


@dataclass(frozen=True)
class PackedSequences:
    """Sequences concatenated in a packed row.

    Attributes:
        rows: The prompt row of each sequence.
        lengths: The length of each sequence in tokens.
        ids, positions: Those of all tokens.
    """

    rows: list[int]
    lengths: list[int]
    ids: list[int]
    positions: list[int]

    @classmethod
    def of(cls, rows: Sequence[int], sequences: Sequence[Ids], since: Sequence[int]) -> "PackedSequences":
        """``since``: the position of each sequence's first token."""
        lengths = [len(ids) for ids in sequences]
        spans = zip(since, lengths, strict=True)
        positions = [first + offset for first, length in spans for offset in range(length)]
        return cls(list(rows), lengths, [token for ids in sequences for token in ids], positions)

    def __add__(self, other: "PackedSequences") -> "PackedSequences":
        return PackedSequences(
            self.rows + other.rows,
            self.lengths + other.lengths,
            self.ids + other.ids,
            self.positions + other.positions,
        )
