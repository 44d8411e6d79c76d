"""The vocabulary head on completion tokens alone, without a [tokens, vocabulary] tensor that stays.

Logits are made in chunks of rows and forgotten. With a frozen head the gradient of log p(y) with respect to
the hidden state, W[y] - softmax(h W) W, is made in the forward pass and only scaled in the backward pass:
exact, nothing computed twice, [tokens, hidden] kept. A trained head makes its chunks again in the backward.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hypo_engine.few_rows import product

_CHUNK_ELEMENTS = 1 << 23


@dataclass(frozen=True)
class Head:
    """From the last hidden states to log-probabilities.

    Attributes:
        weight: [vocabulary, hidden].
        bias: [vocabulary] or None.
        softcap: Logits are squashed to ``softcap * tanh(logit / softcap)``; None leaves them.
        dtype: Of the product; None is the weight's.
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None
    dtype: torch.dtype | None = None

    @property
    def is_plain(self) -> bool:
        """Whether logits are one product and nothing else."""
        return self.bias is None and self.softcap is None and self.dtype is None

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, hidden] -> [rows, vocabulary] float32, without a graph."""
        with torch.no_grad():
            found = product(hidden, self.weight) if self.is_plain else None
            return self._chunk(hidden, self._weight())[0] if found is None else found

    def logps(self, hidden: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        """log softmax(scale * logits)[targets].

        Args:
            hidden: [tokens, hidden].
            targets: [tokens] token ids.
            scale: [tokens] float32, one over the temperature.

        Returns:
            [tokens] float32.
        """
        picked: Tensor = _HeadLogps.apply(hidden, self.weight, self.bias, targets, scale, self)  # type: ignore[no-untyped-call]
        return picked

    def _weight(self) -> Tensor:
        return self.weight.detach() if self.dtype is None else self.weight.detach().to(self.dtype)

    def _normalized(self, hidden: Tensor, matrix: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of every token, [rows, vocabulary], and the derivative of the squashing."""
        logits, slope = self._chunk(hidden, matrix)
        return logits.mul_(scale[:, None]).log_softmax(dim=-1), slope

    def _chunk(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits in float32, and the derivative of the squashing."""
        logits = (hidden.to(weight.dtype) @ weight.t()).float()
        if self.bias is not None:
            logits = logits + self.bias.detach().float()
        if self.softcap is None:
            return logits, None
        squashed = logits.div_(self.softcap).tanh_()
        return squashed * self.softcap, 1.0 - squashed.square_()


class _HeadLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: Tensor,
        head: Head,
    ) -> Tensor:
        ctx.head, ctx.trained = head, ctx.needs_input_grad[1]
        fused = ctx.needs_input_grad[0] and not ctx.trained
        matrix = head._weight()
        found = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if fused else None
        for rows in _chunks(hidden, weight):
            logps, slope = head._normalized(hidden[rows], matrix, scale[rows])
            found[rows] = logps.gather(1, targets[rows, None])[:, 0]
            if gradient is not None:
                pull = _Pull.of(logps, slope, targets[rows], matrix.dtype)
                gradient[rows] = pull.of_hidden(matrix, scale[rows]).to(hidden.dtype)
        ctx.save_for_backward(gradient if fused else hidden, weight, bias, targets, scale)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, bias, targets, scale = ctx.saved_tensors
        if not ctx.trained:
            return (kept * upstream[:, None].to(kept.dtype), *([None] * 5))
        head, hidden = ctx.head, kept
        matrix, factor = head._weight(), scale * upstream
        of_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight)
        of_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for rows in _chunks(hidden, weight):
            logps, slope = head._normalized(hidden[rows], matrix, scale[rows])
            pull = _Pull.of(logps, slope, targets[rows], matrix.dtype)
            if of_hidden is not None:
                of_hidden[rows] = pull.of_hidden(matrix, factor[rows]).to(hidden.dtype)
            pull.add_of_weight(of_weight, hidden[rows].to(matrix.dtype), factor[rows])
            if of_bias is not None:
                pull.add_of_bias(of_bias, factor[rows])
        return of_hidden, of_weight, of_bias, None, None, None


@dataclass(frozen=True)
class _Pull:
    """The gradient of log p(target), before the factors: d / d logits = slope * (onehot(target) - p).

    Attributes:
        targets: [rows].
        away: [rows, vocabulary] p * slope, in the product's type: what every logit is pulled down by.
        towards: [rows] slope of the target's logit, or None where all are one.
    """

    targets: Tensor
    away: Tensor
    towards: Tensor | None

    @classmethod
    def of(cls, logps: Tensor, slope: Tensor | None, targets: Tensor, dtype: torch.dtype) -> "_Pull":
        """From log-probabilities [rows, vocabulary], which are overwritten."""
        away = logps.exp_()
        if slope is None:
            return cls(targets, away.to(dtype), None)
        return cls(targets, away.mul_(slope).to(dtype), slope.gather(1, targets[:, None])[:, 0])

    def of_hidden(self, matrix: Tensor, factor: Tensor) -> Tensor:
        """[rows, hidden] float32: factor * W^T (d / d logits)."""
        towards = matrix[self.targets].float()
        if self.towards is not None:
            towards.mul_(self.towards[:, None])
        return towards.sub_(self.away @ matrix).mul_(factor[:, None])

    def add_of_weight(self, total: Tensor, hidden: Tensor, factor: Tensor) -> None:
        """total [vocabulary, hidden] += factor * (d / d logits) hidden^T."""
        scaled = hidden * factor[:, None].to(hidden.dtype)
        _subtract_product(total, self.away.t(), scaled)
        if self.towards is not None:
            scaled = scaled * self.towards[:, None].to(hidden.dtype)
        total.index_add_(0, self.targets, scaled.to(total.dtype))

    def add_of_bias(self, total: Tensor, factor: Tensor) -> None:
        """total [vocabulary] += factor * (d / d logits)."""
        total.sub_(self.away.t().float() @ factor)
        total.index_add_(0, self.targets, factor if self.towards is None else factor * self.towards)


def _subtract_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right, alpha=-1)
    else:
        total.sub_(left @ right)


def _chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    rows = max(1, _CHUNK_ELEMENTS // weight.shape[0])
    return (slice(start, start + rows) for start in range(0, len(hidden), rows))
