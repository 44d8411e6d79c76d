"""Log-probabilities of chosen tokens, in float32, without a float32 copy of the logits.

``log_softmax`` on [rows, vocab] would keep one more tensor of that size in float32 for the backward pass.
Here the forward pass keeps one number per row, and the backward pass computes the gradient in chunks of
rows: d log p(y) / d z = onehot(y) - softmax(z).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_ELEMENTS = 1 << 22

Ids = Sequence[int]
"""Token ids of one prompt or completion."""


@dataclass(frozen=True, slots=True)
class TokenLogps:
    """Log-probabilities of completions, token by token, in nats.

    Attributes:
        values: [rows, longest] float32, left-aligned, zero after a completion's end.
        mask: [rows, longest] bool, True on a completion's tokens, including its end-of-sequence token.
    """

    values: Tensor
    mask: Tensor

    def sums(self) -> Tensor:
        """Log-probability of each completion, [rows] float32; no digit depends on the padding."""
        return self.values.sum(dim=1, dtype=torch.float64).float()

    def rows(self, part: slice) -> "TokenLogps":
        """The log-probabilities of some of the rows."""
        return TokenLogps(self.values[part], self.mask[part])


@dataclass(frozen=True, slots=True)
class TopLogps:
    """The log-probability of each token of a completion, and of the likeliest tokens in its place, in nats.

    Attributes:
        values: [tokens] float32.
        top: [tokens, k] float32, the highest first.
        top_ids: [tokens, k] token ids.
    """

    values: Tensor
    top: Tensor
    top_ids: Tensor

    def split(self, lengths: Sequence[int]) -> "list[TopLogps]":
        """Those of several completions that stand one after another."""
        parts = zip(
            *(torch.split(part, list(lengths)) for part in (self.values, self.top, self.top_ids)),
            strict=True,
        )
        return [TopLogps(*part) for part in parts]


def top_logps(logits: Iterable[Tensor], targets: Tensor, k: int) -> TopLogps:
    """The log-probabilities of the targets and of the k likeliest tokens.

    Args:
        logits: those of consecutive tokens, [rows, vocab] each, any floating dtype. Only one of them is in
            memory in float32.
        targets: [tokens] token ids.
    """
    values, top, top_ids = list[Tensor](), list[Tensor](), list[Tensor]()
    begin = 0
    for chunk in logits:
        rows = chunk.float()
        normalizers = rows.logsumexp(dim=-1)
        wanted = targets[begin : begin + len(rows)]
        highest = rows.topk(min(k, rows.shape[-1]), dim=-1)
        values.append(rows.gather(1, wanted[:, None])[:, 0] - normalizers)
        top.append(highest.values - normalizers[:, None])
        top_ids.append(highest.indices)
        begin += len(rows)
    return TopLogps(torch.cat(values), torch.cat(top), torch.cat(top_ids))


def selected_logps(logits: Tensor, targets: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
    """log softmax(logits / temperature)[targets].

    Args:
        logits: [..., vocab], any floating dtype.
        targets: [...] token ids.
        temperature: A number, or a tensor that broadcasts to targets' shape from the left ([rows, 1]).

    Returns:
        [...] float32.
    """
    scale = (1.0 / torch.as_tensor(temperature, dtype=torch.float32, device=logits.device)).expand(
        targets.shape
    )
    flat = logits.reshape(-1, logits.shape[-1])
    picked: Tensor = _SelectedLogps.apply(flat, targets.reshape(-1), scale.reshape(-1))  # type: ignore[no-untyped-call]
    return picked.view(targets.shape)


class _SelectedLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        normalizers = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
        for chunk in chunks(logits):
            normalizers[chunk] = (logits[chunk].float() * scale[chunk, None]).logsumexp(dim=-1)
        ctx.save_for_backward(logits, targets, scale, normalizers)
        return logits.gather(1, targets[:, None])[:, 0].float() * scale - normalizers

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, scale, normalizers = ctx.saved_tensors
        weights = gradient * scale
        result = torch.empty_like(logits)
        for chunk in chunks(logits):
            z = logits[chunk].float() * scale[chunk, None]
            z = z.sub_(normalizers[chunk, None]).exp_().mul_(-weights[chunk, None])
            result[chunk] = z.scatter_add_(1, targets[chunk, None], weights[chunk, None])
        return result, None, None


def chunks(logits: Tensor) -> list[slice]:
    """Slices of rows, so that a slice of the logits has a limited number of elements."""
    rows = max(1, _CHUNK_ELEMENTS // logits.shape[-1])
    return [slice(start, start + rows) for start in range(0, len(logits), rows)]


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, device: torch.device, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Stack token ids of unequal length: ids [rows, longest] int64 and mask [rows, longest] bool."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.bool)
    for index, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[index, place] = torch.tensor(row, dtype=torch.long)
        mask[index, place] = True
    return ids.to(device), mask.to(device)
