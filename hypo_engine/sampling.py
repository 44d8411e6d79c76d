"""Sampling responses with a loop of our own, so that nothing of a model's generation_config leaks in.

A row's randomness is its own: the uniform numbers of a row come from its seed alone, so a response
does not depend on the rows decoded beside it, up to the rounding of batched arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.logprobs import selected_logps
from hypo_engine.trunk import Decoding


@dataclass(frozen=True, slots=True)
class Response:
    """A sampled response.

    Attributes:
        ids: Its tokens, the end token included if it ended by itself.
        finished: Whether it ended by itself; False for one cut by the length limit or stopped.
        logps: Log-probability of each token as the decoder saw it, at the sampling temperature (nats).
    """

    ids: list[int]
    finished: bool
    logps: list[float]


@dataclass(frozen=True)
class Choice:
    """How rows choose tokens: temperature and top_p of each ([rows] float64); temperature 0 is greedy."""

    temperature: Tensor
    top_p: Tensor

    @classmethod
    def same(
        cls, rows: int, device: torch.device, *, temperature: float = 1.0, top_p: float = 1.0
    ) -> "Choice":
        """The same values for every row."""
        ones = torch.ones(rows, dtype=torch.float64, device=device)
        return cls(ones * temperature, ones * top_p)

    def keep(self, rows: Tensor) -> "Choice":
        """The choice of some of the rows."""
        return Choice(self.temperature[rows], self.top_p[rows])


def uniforms(seeds: Sequence[int], count: int) -> Tensor:
    """[rows, count] float64 in [0, 1): each row a function of its seed alone (CPU)."""
    rows = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.rand(count, generator=g, dtype=torch.float64) for g in rows])


def choose_tokens(logits: Tensor, uniform: Tensor, choice: Choice) -> Tensor:
    """Draw one token a row by inverting the cumulative distribution.

    Args:
        logits: [rows, vocab].
        uniform: [rows] in [0, 1).

    Returns:
        [rows] token ids.
    """
    greedy = choice.temperature == 0
    scale = torch.where(greedy, torch.ones_like(choice.temperature), choice.temperature)
    probabilities = (logits.double() / scale[:, None]).softmax(dim=-1)
    if bool((choice.top_p < 1).any()):
        probabilities = _nucleus(probabilities, choice.top_p)
    cumulative = probabilities.cumsum(dim=-1)
    target = uniform[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return torch.where(greedy, logits.argmax(dim=-1), drawn)


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Zero all but the most likely tokens that together reach ``top_p`` (Holtzman et al., 2020)."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    ordered = ordered.masked_fill(before >= top_p[:, None], 0.0)
    return torch.zeros_like(probabilities).scatter(-1, order, ordered)


@torch.no_grad()
def sample_responses(
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    choice: Choice,
    max_new_tokens: Sequence[int],
    stop_ids: frozenset[int],
    on_token: Callable[[int, int], bool] | None = None,
) -> list[Response]:
    """Continue every row until its end token or its limit.

    Args:
        seeds: One a row.
        max_new_tokens: One a row, at least 1.
        stop_ids: Token ids that end a response; the end token is kept.
        on_token: Called with (row, token id) after each token; True stops that row there. It may
            raise to give up all rows.

    Returns:
        One response a row, in order.
    """
    device = decoding.logits.device
    random = uniforms(seeds, max(max_new_tokens)).to(device)
    rows = list(range(len(seeds)))  # the row behind each line of the batch
    ids: list[list[int]] = [[] for _ in rows]
    logps: list[list[float]] = [[] for _ in rows]
    finished = [False] * len(rows)
    over = [False] * len(rows)
    for position in range(max(max_new_tokens)):
        tokens = choose_tokens(decoding.logits, random[:, position], choice)
        scale = torch.where(choice.temperature == 0, 1.0, choice.temperature).float()
        token_logps = selected_logps(decoding.logits, tokens, scale)
        for row, token, logp in zip(rows, tokens.tolist(), token_logps.tolist(), strict=True):
            if over[row]:
                continue
            ids[row].append(token)
            logps[row].append(logp)
            finished[row] = token in stop_ids
            stopped = on_token(row, token) if on_token else False
            over[row] = finished[row] or stopped or len(ids[row]) >= max_new_tokens[row]
        if all(over):
            break
        if decoding.droppable and any(over[row] for row in rows):
            kept = torch.tensor([line for line, row in enumerate(rows) if not over[row]], device=device)
            decoding.keep(kept)
            tokens, random, choice = tokens[kept], random[kept], choice.keep(kept)
            rows = [row for row in rows if not over[row]]
        decoding.feed(tokens)
    return [Response(i, f, p) for i, f, p in zip(ids, finished, logps, strict=True)]
