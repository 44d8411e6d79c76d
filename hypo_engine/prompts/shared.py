"""One prompt trunk, many branches: prompts are encoded once and every completion grows from them.

HyPO scores a prompt with its chosen, its rejected and k sampled responses, and decodes the samples
from the same prompt. The trunk's keys and values serve all of that; the graph is kept, so gradients
of the branches flow back into the prompt. All tokens stand in one packed row: nothing is padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from hypo_engine.decoding.decoder import Decoder
from hypo_engine.decoding.protocol import Decoding, FastStep, continue_alike
from hypo_engine.forward.fused import lean
from hypo_engine.forward.interface import How, Pass
from hypo_engine.forward.logprobs import Ids as Ids
from hypo_engine.forward.logprobs import TokenLogps
from hypo_engine.forward.packed import Route, base_model, everywhere_the_same
from hypo_engine.forward.phases import phase
from hypo_engine.forward.structure import attention_as_configured, only_attention_mixes, positions_by_length
from hypo_engine.forward.trial import MODEL_ERRORS, Trial, make_trial, precisely
from hypo_engine.forward.visibility import BranchPass, DecodePass, GrownPass, TrunkKeys, TrunkPass, starts


class Encoded(Protocol):
    """Prompts ready to be scored with completions, or continued."""

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        """Score ``completions[i]`` after prompt ``rows[i]``; temperature: [len(rows), 1] or a number."""

    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        """Start to continue the prompts ``rows`` by at most ``limit`` tokens, without a graph."""


class Trunk:
    """Prompts encoded once, shared by every branch.

    Nothing runs before it is known what is asked for. Prompts that are scored first run in one row with
    their completions: every weight is read once for both. What is asked for later grows from the keys kept.
    """

    def __init__(
        self, packed: Decoder, prompts: Sequence[Ids], *, route: Route = everywhere_the_same
    ) -> None:
        self._packed, self._route = packed, route
        self._prompts = _Stretch.of(range(len(prompts)), prompts, [0] * len(prompts))
        self._keys = TrunkKeys(self._prompts.lengths)
        ends = zip(starts(self._prompts.lengths), self._prompts.lengths, strict=True)
        self._ends = [start + length - 1 for start, length in ends]
        self._last: Tensor | None = None

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        device, packed = self._packed.device, self._packed
        lengths = [len(completion) for completion in completions]
        targets = torch.tensor([t for completion in completions for t in completion], device=device)
        count = torch.tensor(lengths, device=device)
        scale = torch.as_tensor(temperature, dtype=torch.float32, device=device)
        scale = scale.reshape(-1).expand(len(lengths)).repeat_interleave(count)
        logps = packed.logps(self._before_each_token(rows, completions), targets, scale)
        mask = torch.arange(max(lengths), device=device) < count[:, None]
        values = torch.zeros(mask.shape, dtype=torch.float32, device=device)
        return TokenLogps(values.masked_scatter(mask, logps), mask)

    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        last = self._encoded()
        with torch.no_grad():
            logits = self._packed.head.logits(last.detach()[list(rows)])
            return self._fast_decoding(rows, limit, logits) or self._tree_decoding(rows, limit, logits)

    def _encoded(self) -> Tensor:
        """Hidden states of the prompts' ends, [prompts, hidden]."""
        if self._last is None:
            with phase("trunk"):
                self._last = self._hidden(self._prompts, TrunkPass(self._keys))[self._index(self._ends)]
        return self._last

    def _before_each_token(self, rows: Sequence[int], completions: Sequence[Ids]) -> Tensor:
        """Hidden states that the completions' tokens follow from: of the first one, its prompt's end."""
        inputs = [completion[:-1] for completion in completions]  # nothing follows the last one
        grown = [place for place, ids in enumerate(inputs) if ids]
        branches = _Stretch.of(
            [rows[g] for g in grown],
            [inputs[g] for g in grown],
            [self._prompts.lengths[rows[g]] for g in grown],
        )
        if not grown:
            hidden, ends, begin = self._encoded(), list(range(len(self._ends))), 0
        elif self._last is None:
            with phase("forward"):
                tree = GrownPass(self._keys, branches.rows, branches.lengths)
                hidden = self._hidden(self._prompts + branches, tree)
            ends, begin = self._ends, sum(self._prompts.lengths)
            self._last = hidden[self._index(ends)]
        else:
            with phase("branches"):
                found = self._hidden(branches, BranchPass(self._keys, branches.rows, branches.lengths))
            hidden, begin = torch.cat([self._last, found]), len(self._ends)
            ends = list(range(begin))
        order = list[int]()
        for row, ids in zip(rows, inputs, strict=True):
            order += [ends[row], *range(begin, begin + len(ids))]
            begin += len(ids)
        return hidden.index_select(0, self._index(order))

    def _hidden(self, stretch: "_Stretch", tree: Pass) -> Tensor:
        """The last hidden states of packed tokens, [tokens, hidden]."""
        self._route(
            [row for row, length in zip(stretch.rows, stretch.lengths, strict=True) for _ in range(length)]
        )
        return self._packed.hidden(stretch.ids, stretch.positions, tree)

    def _index(self, places: Sequence[int]) -> Tensor:
        return torch.tensor(places, device=self._packed.device)

    def _fast_decoding(self, rows: Sequence[int], limit: int, logits: Tensor) -> Decoding | None:
        """What the model offers instead of its modules; when first used, one step is made both ways."""
        step = self._packed.step
        if step is None or not (step.follows_routes or self._route is everywhere_the_same):
            return None
        if not step.tried and not self._agrees(step, rows, logits):
            self._packed.step = None
            return None
        return step.begin(self._keys, rows, limit, logits)

    def _agrees(self, step: FastStep, rows: Sequence[int], logits: Tensor) -> bool:
        """Whether a step gives what the modules give; what it was tried with is gone afterwards."""
        one = step.begin(self._keys, rows, 1, logits)
        if one is None:
            return True
        step.tried, exact = True, self._encoded().dtype == torch.float32
        return continue_alike(one, self._tree_decoding(rows, 1, logits), logits.argmax(dim=-1), exact=exact)

    def _tree_decoding(self, rows: Sequence[int], limit: int, logits: Tensor) -> "TreeDecoding":
        """Decoding through transformers' modules."""
        positions = [self._prompts.lengths[row] for row in rows]
        tree = DecodePass(self._keys, rows, limit)
        return TreeDecoding(self._packed, tree, positions, logits, list(rows), self._route)


@dataclass(frozen=True)
class _Stretch:
    """Sequences that stand one after another in a packed row, each of a prompt's row."""

    rows: list[int]
    lengths: list[int]
    ids: list[int]
    positions: list[int]

    @classmethod
    def of(cls, rows: Sequence[int], sequences: Sequence[Ids], since: Sequence[int]) -> "_Stretch":
        """``since``: the position of each sequence's first token."""
        lengths = [len(ids) for ids in sequences]
        places = zip(since, lengths, strict=True)
        positions = [first + place for first, length in places for place in range(length)]
        return cls(list(rows), lengths, [token for ids in sequences for token in ids], positions)

    def __add__(self, other: "_Stretch") -> "_Stretch":
        return _Stretch(
            self.rows + other.rows,
            self.lengths + other.lengths,
            self.ids + other.ids,
            self.positions + other.positions,
        )


class TreeDecoding:
    """Responses growing from a trunk."""

    def __init__(
        self,
        packed: Decoder,
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
        self._route(self._rows)
        hidden = self._packed.hidden(tokens, self._positions, self._tree)
        self._tree.advance()
        self._positions = self._positions + 1
        self.logits = self._packed.head.logits(hidden)

    def keep(self, rows: Tensor) -> bool:
        self._tree.keep(rows)
        self._positions, self.logits = self._positions[rows], self.logits[rows]
        self._rows = [self._rows[row] for row in rows.tolist()]
        return True


@torch.no_grad()
def packed(model: Any, *, pad_id: int = 0, half: bool = False) -> Decoder | None:
    """See a model as packed, with lean kernels, if its structure allows that and its numbers come out again.

    Every layer's attention must come through our function, and nothing but attention may mix tokens. Then the
    logits of packed tokens are held against those of the model's own forward, in float32.

    Args:
        half: The float32 model will compute in bfloat16 (autocast); its forward does not do so yet.
    """
    base = base_model(model)
    if not only_attention_mixes(base) or positions_by_length(base):
        return None
    exact = next(model.parameters()).dtype == torch.float32 and not half
    before, undo = base.config._attn_implementation, None
    try:
        with precisely(model) as wide:
            trial = make_trial(model, wide=wide)
            undo = lean(model) if exact else None
            found = Decoder(model)
            if wide and _gives_the_same(found, trial):
                return Decoder(model, half=True) if half else found
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except MODEL_ERRORS:
        pass  # transformers' model does not do what packing needs
    if undo:
        undo()
    base.set_attn_implementation(before)
    return None


_CUTS = (9, 5, 1)
"""Where the trial's sequences are cut into a prompt and what follows it."""

_SCALE = 2e-4
"""How far a factor between two logits may lie from 1; float32's rounding moves it by less than 1e-5."""


def _gives_the_same(found: Decoder, trial: Trial) -> bool:
    """Whether packed tokens give the logits of whole sequences: beside each other, and behind kept keys."""
    prompts = _Stretch.of(
        range(3), [ids[:cut] for ids, cut in zip(trial.sequences, _CUTS, strict=True)], [0] * 3
    )
    rows = [0, 1, 2, 0]  # the first prompt has two branches
    branches = _Stretch.of(
        rows, [trial.sequences[row][_CUTS[row] :] for row in rows], [_CUTS[row] for row in rows]
    )
    whole, keys = prompts + branches, TrunkKeys(prompts.lengths)
    watched = _Watched(GrownPass(keys, rows, branches.lengths))
    grown = found.hidden(whole.ids, whole.positions, watched)
    if not attention_as_configured(found.config, watched.asked):
        return False
    behind = found.hidden(branches.ids, branches.positions, BranchPass(keys, rows, branches.lengths))
    first = torch.cat([logits[:cut] for logits, cut in zip(trial.logits, _CUTS, strict=True)])
    then = torch.cat([trial.logits[row][_CUTS[row] :] for row in rows])
    results = [
        (found.head.float_logits(hidden), expected)
        for hidden, expected in ((grown, torch.cat([first, then])), (behind, then))
    ]
    return all(_of_one_scale(*pair) and trial.agrees(*pair) for pair in results)


def _of_one_scale(found: Tensor, expected: Tensor) -> bool:
    """Whether logits are of one size: a factor near 1 on all of them would pass for a small difference."""
    ours, theirs = found.double().flatten(), expected.double().flatten()
    return abs(float(ours @ theirs / (theirs @ theirs)) - 1) < _SCALE


class _Watched:
    """A pass, and what each layer asked of it."""

    def __init__(self, tree: Pass) -> None:
        self._tree, self.asked = tree, dict[int, How]()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        self.asked[layer] = how
        return self._tree.attend(layer, query, key, value, how)
