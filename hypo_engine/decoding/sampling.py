"""The engine's own sampling loop, so that no setting of a model's generation_config leaks in.

The uniform numbers of a row depend on its seed alone. A response therefore does not depend on the other
rows in the batch, up to the rounding of batched arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.decoding.protocol import Decoding

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Response:
    """A sampled response.

    Attributes:
        ids: Its tokens, including the end token if it finished.
        finished: Whether it ended with an end token; False if it was cut by the length limit or stopped.
        logps: Log-probability of each token under the decoder, at the sampling temperature or at 1 (nats).
    """

    ids: list[int]
    finished: bool
    logps: list[float]


@dataclass(frozen=True)
class Choice:
    """Sampling parameters per row: temperature and top_p ([rows] float64); temperature 0 is greedy."""

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
        """The parameters of some of the rows."""
        return Choice(self.temperature[rows], self.top_p[rows])

    @cached_property
    def greedy(self) -> Tensor | None:
        """Which rows are greedy: [rows] bool, or None if none is."""
        greedy = self.temperature == 0
        return greedy if bool(greedy.any()) else None

    @cached_property
    def scale(self) -> Tensor | None:
        """[rows, 1] float32, the inverse temperature (1 for greedy rows), or None if all are 1."""
        temperature = torch.where(self.temperature == 0, 1.0, self.temperature)
        return None if bool((temperature == 1).all()) else temperature.reciprocal().float()[:, None]

    @cached_property
    def cuts(self) -> bool:
        """Whether any row has a top_p below 1."""
        return bool((self.top_p < 1).any())


def uniforms(seeds: Sequence[int], count: int) -> Tensor:
    """[rows, count] float64 in [0, 1) on the CPU; each row is a function of its seed alone."""
    rows = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.rand(count, generator=g, dtype=torch.float64) for g in rows])


def choose_tokens(logits: Tensor, uniform: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: [rows, vocab] float32.
        uniform: [rows] float64 in [0, 1).

    Returns:
        [rows] token ids, and [rows] their log-probabilities at the temperature (1 for greedy rows), before
        top_p is applied.
    """
    scaled = logits.float() if choice.scale is None else logits.float() * choice.scale
    highest = scaled.amax(dim=-1, keepdim=True)
    weights = (scaled - highest).exp_()
    by_block = _block_sums(weights)
    totals = by_block.sum(dim=-1)
    if choice.cuts:
        weights = _nucleus(weights.div_(totals[:, None]), choice.top_p)
        by_block = _block_sums(weights)
    tokens = _invert(weights, by_block, uniform)
    if choice.greedy is not None:
        tokens = torch.where(choice.greedy, scaled.argmax(dim=-1), tokens)
    picked = scaled.gather(1, tokens[:, None]) - highest
    return tokens, (picked[:, 0] - totals.log()).float()


def _block_sums(weights: Tensor) -> Tensor:
    """Sums of [rows, size] weights over blocks, the last one shorter: [rows, blocks] float64."""
    rest = -weights.shape[1] % _BLOCK
    blocks = (F.pad(weights, (0, rest)) if rest else weights).view(len(weights), -1, _BLOCK)
    return blocks.sum(dim=-1).double()


def _invert(weights: Tensor, by_block: Tensor, uniform: Tensor) -> Tensor:
    """The index at which each row's running sum of weights passes uniform * total: [rows].

    Running sums are float64, first over blocks and then within one block; one over the whole vocabulary
    would be slow.

    Args:
        weights: [rows, size].
        by_block: [rows, blocks] float64, the sum of each block of weights.
    """
    block, rest = _pass(by_block, uniform * by_block.sum(dim=-1))
    places = block[:, None] * _BLOCK + torch.arange(_BLOCK, device=weights.device)
    within = weights.gather(1, places.clamp(max=weights.shape[1] - 1)).double()
    inner, _ = _pass(within.masked_fill(places >= weights.shape[1], 0.0), rest)
    return block * _BLOCK + inner


def _pass(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The index at which the running sum passes a target, and the rest of the target there: both [rows]."""
    sums = weights.cumsum(dim=-1)
    # at most just below the total, so that rounding never picks a token of weight zero at the end
    target = torch.minimum(target, torch.nextafter(sums[:, -1], torch.zeros_like(target)))
    place = torch.searchsorted(sums, target[:, None], right=True)
    before = sums.gather(1, place) - weights.gather(1, place)
    return place[:, 0], (target - before[:, 0]).clamp_(min=0)


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Zero all but the most likely tokens that together reach ``top_p`` (Holtzman et al., 2020)."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
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
    unscaled: bool = False,
) -> list[Response]:
    """Continue every row until its end token or its limit.

    Args:
        seeds: One per row.
        max_new_tokens: One per row, at least 1.
        stop_ids: Token ids that end a response; the end token is kept.
        on_token: Called with (row, token id) after each token; True stops that row. May raise to abandon
            all rows.
        unscaled: Return log-probabilities at temperature 1, whatever the temperature of sampling is.

    Returns:
        One response per row, in order.
    """
    device = decoding.logits.device
    random = uniforms(seeds, max(max_new_tokens)).to(device)
    rows = list(range(len(seeds)))  # the row of each line of the batch
    ids: list[list[int]] = [[] for _ in rows]
    logps: list[list[float]] = [[] for _ in rows]
    finished = [False] * len(rows)
    over = [False] * len(rows)
    for position in range(max(max_new_tokens)):
        tokens, token_logps = choose_tokens(decoding.logits, random[:, position], choice)
        if unscaled and choice.scale is not None:
            token_logps = -F.cross_entropy(decoding.logits.float(), tokens, reduction="none")
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
        kept = torch.tensor([line for line, row in enumerate(rows) if not over[row]], device=device)
        if len(kept) < len(rows) and decoding.keep(kept):
            tokens, random, choice = tokens[kept], random[kept], choice.keep(kept)
            rows = [row for row in rows if not over[row]]
        decoding.feed(tokens)
    return [Response(i, f, p) for i, f, p in zip(ids, finished, logps, strict=True)]
