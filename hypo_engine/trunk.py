"""One prompt trunk, many branches: prompts are encoded once and every completion grows from them.

HyPO scores a prompt with its chosen, its rejected and k sampled responses, and decodes the samples
from the same prompt. The trunk's keys and values serve all of that; the graph is kept, so gradients
of the branches flow back into the prompt. All tokens stand in one packed row: nothing is padded.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hypo_engine.attention import BranchPass, DecodePass, TrunkKeys, TrunkPass, starts
from hypo_engine.decoding import Decoding, continue_alike
from hypo_engine.joined import Joined
from hypo_engine.kernels import lean
from hypo_engine.logprobs import Ids as Ids
from hypo_engine.logprobs import TokenLogps
from hypo_engine.packed import Packed, Route, base_model, everywhere_the_same
from hypo_engine.phases import phase


class Encoded(Protocol):
    """Prompts ready to be scored with completions, or continued."""

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        """Score ``completions[i]`` after prompt ``rows[i]``; temperature: [len(rows), 1] or a number."""

    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        """Start to continue the prompts ``rows`` by at most ``limit`` tokens, without a graph."""


class Trunk:
    """Prompts encoded once, shared by every branch."""

    def __init__(self, packed: Packed, prompts: Sequence[Ids], *, route: Route = everywhere_the_same) -> None:
        self._packed, self._route = packed, route
        self._lengths = [len(prompt) for prompt in prompts]
        self._keys = TrunkKeys(self._lengths)
        with phase("trunk"):
            route([row for row, prompt in enumerate(prompts) for _ in prompt])
            ids = [token for prompt in prompts for token in prompt]
            positions = [place for length in self._lengths for place in range(length)]
            hidden = packed.hidden(ids, positions, TrunkPass(self._keys))
        ends = [
            start + length - 1 for start, length in zip(starts(self._lengths), self._lengths, strict=True)
        ]
        self._last = hidden[torch.tensor(ends, device=packed.device)]

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        device, packed = self._packed.device, self._packed
        lengths = [len(completion) for completion in completions]
        # a completion's first token follows the prompt's last, its own last token is followed by nothing
        order, hidden = self._grow(rows, completions)
        targets = torch.tensor([t for completion in completions for t in completion], device=device)
        count = torch.tensor(lengths, device=device)
        scale = torch.as_tensor(temperature, dtype=torch.float32, device=device)
        scale = scale.reshape(-1).expand(len(lengths)).repeat_interleave(count)
        logps = packed.logps(hidden.index_select(0, order), targets, scale)
        mask = torch.arange(max(lengths), device=device) < count[:, None]
        values = torch.zeros(mask.shape, dtype=torch.float32, device=device)
        return TokenLogps(values.masked_scatter(mask, logps), mask)

    @torch.no_grad()
    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        logits = self._packed.head.logits(self._last.detach()[list(rows)])
        return self._fast_decoding(rows, limit, logits) or self._tree_decoding(rows, limit, logits)

    def _fast_decoding(self, rows: Sequence[int], limit: int, logits: Tensor) -> Decoding | None:
        """What the model offers instead of its modules; when first used, one step is made both ways."""
        step = self._packed.step
        if step is None or not (step.follows_routes or self._route is everywhere_the_same):
            return None
        if not step.tried and (one := step.begin(self._keys, rows, 1, logits)):
            step.tried, exact = True, self._last.dtype == torch.float32
            if not continue_alike(
                one, self._tree_decoding(rows, 1, logits), logits.argmax(dim=-1), exact=exact
            ):
                self._packed.step = None
                return None
        return step.begin(self._keys, rows, limit, logits)

    def _tree_decoding(self, rows: Sequence[int], limit: int, logits: Tensor) -> "TreeDecoding":
        """Decoding through transformers' modules."""
        positions = [self._lengths[row] for row in rows]
        tree = DecodePass(self._keys, rows, limit)
        return TreeDecoding(self._packed, tree, positions, logits, list(rows), self._route)

    def _grow(self, rows: Sequence[int], completions: Sequence[Ids]) -> tuple[Tensor, Tensor]:
        """Hidden states of prompts' ends and of branches, and which of them comes before each token."""
        inputs = [completion[:-1] for completion in completions]
        grown = [place for place, ids in enumerate(inputs) if ids]
        begins = starts([len(ids) for ids in inputs])
        order = [
            place
            for row, begin, ids in zip(rows, begins, inputs, strict=True)
            for place in (row, *range(len(self._lengths) + begin, len(self._lengths) + begin + len(ids)))
        ]
        index = torch.tensor(order, device=self._packed.device)
        if not grown:
            return index, self._last
        branches = BranchPass(self._keys, [rows[g] for g in grown], [len(inputs[g]) for g in grown])
        with phase("branches"):
            self._route([row for row, ids in zip(rows, inputs, strict=True) for _ in ids])
            hidden = self._packed.hidden(
                [token for ids in inputs for token in ids],
                [
                    self._lengths[row] + p
                    for row, ids in zip(rows, inputs, strict=True)
                    for p in range(len(ids))
                ],
                branches,
            )
        return index, torch.cat([self._last, hidden])


class TreeDecoding:
    """Responses growing from a trunk."""

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
def packed(model: Any, *, pad_id: int, half: bool = False) -> Packed | None:
    """See a model as packed, with lean kernels, if that gives what full sequences give (tried on few)."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = [(7 * i + 3) % vocabulary for i in range(24)]
    prompts, rows, completions = [ids[:5], ids[5:8]], [0, 0, 1], [ids[8:16], ids[16:18], ids[18:24]]
    expected = Joined(model, prompts, pad_id=pad_id).score(rows, completions).values
    exact = next(model.parameters()).dtype == torch.float32 and not half
    before = model.config._attn_implementation
    undo = lean(model) if exact else None
    try:
        found = Packed(model, half=half)
        values = Trunk(found, prompts).score(rows, completions).values
        if torch.allclose(values, expected, atol=1e-3 if exact else 0.25, rtol=0.02):
            return found
    except (TypeError, AttributeError, ValueError, RuntimeError, IndexError, KeyError):
        pass  # transformers' model does not do what packing needs
    if undo:
        undo()
    base_model(model).set_attn_implementation(before)
    return None
