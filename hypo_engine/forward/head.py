"""The vocabulary head on completion tokens only, without keeping a [tokens, vocabulary] tensor.

Logits are computed in chunks of rows and discarded. With a frozen head, the forward pass also computes the
gradient of log p(y) with respect to the hidden state, W[y] - softmax(h W) W, and the backward pass only
scales it. That is exact, computes nothing twice, and keeps [tokens, hidden]. A trained head recomputes its
chunks in the backward pass.

On a CPU, a frozen float32 head iterates over blocks of the vocabulary instead, with all rows at once. Each
block of W is read once for both products, and its logits are used while they are in the cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hypo_engine.cpu.elementwise import BlockwiseSoftmax
from hypo_engine.cpu.gemm import add_linear, linear
from hypo_engine.cpu.skinny_gemm import product
from hypo_engine.forward.logprobs import TopLogps, top_logps

_CHUNK_ELEMENTS = 1 << 23
_BLOCK_ELEMENTS = 1 << 20
_FLOAT_BLOCK = 1 << 14
_ALIGNED = 64
"""Block widths are a multiple of this, so that rows are aligned to vectors."""


@dataclass(frozen=True)
class Head:
    """Turns the last hidden states into log-probabilities.

    Attributes:
        weight: [vocabulary, hidden].
        bias: [vocabulary] or None.
        softcap: Logits are soft-capped to ``softcap * tanh(logit / softcap)``; None leaves them.
        dtype: Of the product; None means the weight's.
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None
    dtype: torch.dtype | None = None

    @property
    def is_plain(self) -> bool:
        """Whether logits are a single matrix product."""
        return self.bias is None and self.softcap is None and self.dtype is None

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, hidden] -> [rows, vocabulary] float32, without autograd."""
        with torch.no_grad():
            found = product(hidden, self.weight) if self.is_plain else None
            return self._chunk(hidden, self._weight())[0] if found is None else found

    def float_logits(self, hidden: Tensor) -> Tensor:
        """The same in float32 for any dtype of the weight; slow, in blocks of the vocabulary."""
        with torch.no_grad():
            blocks = [hidden.float() @ block.float().t() for block in torch.split(self.weight, _FLOAT_BLOCK)]
            found = torch.cat(blocks, dim=-1) + (0.0 if self.bias is None else self.bias.float())
            return found if self.softcap is None else (found / self.softcap).tanh() * self.softcap

    def logps(self, hidden: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        """log softmax(scale * logits)[targets].

        Args:
            hidden: [tokens, hidden].
            targets: [tokens] token ids.
            scale: [tokens] float32, the inverse temperature.

        Returns:
            [tokens] float32.
        """
        picked: Tensor = _HeadLogps.apply(hidden, self.weight, self.bias, targets, scale, self)  # type: ignore[no-untyped-call]
        return picked

    @torch.no_grad()
    def top_logps(self, hidden: Tensor, targets: Tensor, k: int) -> TopLogps:
        """Log-probabilities of the targets and of the k likeliest tokens, without autograd.

        Args:
            hidden: [tokens, hidden], at least one token.
            targets: [tokens] token ids.
        """
        matrix = self._weight()
        chunks = (self._chunk(hidden[rows], matrix)[0] for rows in _chunks(hidden, matrix))
        return top_logps(chunks, targets, k)

    def _weight(self) -> Tensor:
        return self.weight.detach() if self.dtype is None else self.weight.detach().to(self.dtype)

    def _normalized(self, hidden: Tensor, matrix: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of every token, [rows, vocabulary], and the derivative of the soft-capping."""
        logits, slope = self._chunk(hidden, matrix)
        return logits.mul_(scale[:, None]).log_softmax(dim=-1), slope

    def _chunk(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits in float32, and the derivative of the soft-capping."""
        logits = _float_logits(hidden, weight)
        if self.bias is not None:
            logits = logits + self.bias.detach().float()
        if self.softcap is None:
            return logits, None
        capped = logits.div_(self.softcap).tanh_()
        return capped * self.softcap, 1.0 - capped.square_()


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
        if head.is_plain and not ctx.trained and _in_blocks(hidden, weight):
            found, gradient = _block_by_block(hidden, weight.detach(), targets, scale, differentiate=fused)
            ctx.save_for_backward(gradient if fused else hidden, weight, bias, targets, scale)
            return found
        matrix = head._weight()
        found = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if fused else None
        for rows in _chunks(hidden, weight):
            logps, slope = head._normalized(hidden[rows], matrix, scale[rows])
            found[rows] = logps.gather(1, targets[rows, None])[:, 0]
            if gradient is not None:
                step = _downward(logps, slope, targets[rows], matrix.dtype)
                gradient[rows] = (step @ matrix).float().mul_(-scale[rows, None]).to(hidden.dtype)
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
            step = _downward(logps, slope, targets[rows], matrix.dtype)
            if of_hidden is not None:
                of_hidden[rows] = (step @ matrix).float().mul_(-factor[rows, None]).to(hidden.dtype)
            scaled = (hidden[rows] * factor[rows, None]).to(matrix.dtype)
            _subtract_product(of_weight, step.t(), scaled)
            if of_bias is not None:
                of_bias -= step.float().t() @ factor[rows]
        return of_hidden, of_weight, of_bias, None, None, None


def _block_by_block(
    hidden: Tensor, weight: Tensor, targets: Tensor, scale: Tensor, *, differentiate: bool
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of the targets, and their hidden-state gradients scale * (W[y] - p W)."""
    sums = torch.zeros_like(hidden) if differentiate else None
    softmax = BlockwiseSoftmax(scale, targets, sums)
    width = max(_ALIGNED, _BLOCK_ELEMENTS // max(1, len(hidden)) // _ALIGNED * _ALIGNED)
    for start in range(0, len(weight), width):
        block = weight[start : start + width]
        logits = linear(hidden, block)
        softmax.block(logits, start)
        if sums is not None:
            add_linear(sums, logits, block.t())
    if sums is not None:
        sums = torch.sub(weight[targets], sums.div_(softmax.normalizer()[:, None])).mul_(scale[:, None])
    return softmax.target_logps(), sums


def _in_blocks(hidden: Tensor, weight: Tensor) -> bool:
    """Whether the head can iterate over blocks of the vocabulary."""
    mixed = weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and weight.is_contiguous()
    return BlockwiseSoftmax.serves(hidden) and (mixed or BlockwiseSoftmax.serves(weight))


def _float_logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """Logits in float32; on a CPU those of float32 hidden states are not rounded to the weight's dtype."""
    if hidden.dtype == torch.float32 and hidden.device.type == "cpu":
        return linear(hidden, weight)
    return (hidden.to(weight.dtype) @ weight.t()).float()


def _downward(logps: Tensor, slope: Tensor | None, targets: Tensor, dtype: torch.dtype) -> Tensor:
    """-d log p(target) / d logits = slope * (p - onehot(target)), in place of all log-probabilities.

    The 1 is subtracted in float32, because bfloat16 rounds a probability near one to it.
    """
    step = logps.exp_().scatter_add_(1, targets[:, None], logps.new_full((len(targets), 1), -1.0))
    return (step if slope is None else step.mul_(slope)).to(dtype)


def _subtract_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right, alpha=-1)
    else:
        total.sub_(left @ right)


def _chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    rows = max(1, _CHUNK_ELEMENTS // weight.shape[0])
    return (slice(start, start + rows) for start in range(0, len(hidden), rows))
