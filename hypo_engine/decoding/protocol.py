"""What decoding is to those who sample, and what may stand in for transformers' modules to do it faster."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hypo_engine.forward.visibility import PrefixKeys


class Decoding(Protocol):
    """Responses being written, one token a row at a time.

    Attributes:
        logits: [rows, vocab], the distribution of each row's next token.
    """

    logits: Tensor

    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""

    def keep(self, rows: Tensor) -> bool:
        """Drop every row but ``rows`` (indices, in order), if rows can be dropped; returns whether it did."""


class FastStep(Protocol):
    """A way to decode with one model, faster than through its modules.

    Attributes:
        tried: Whether its numbers were held against the modules'.
        follows_routes: Whether it may be used where rows have adapters of their own.
    """

    tried: bool
    follows_routes: bool

    def begin(self, prefix: PrefixKeys, rows: Sequence[int], limit: int, logits: Tensor) -> Decoding | None:
        """Responses to the prompts ``rows``, up to ``limit`` tokens each; None where it cannot serve.

        Args:
            logits: [len(rows), vocabulary], of the first token.
        """


def continue_alike(one: Decoding, other: Decoding, tokens: Tensor, *, exact: bool) -> bool:
    """Whether two decodings of the same rows see the same distributions after the same tokens.

    Args:
        exact: Up to float32's rounding; else up to bfloat16's.
    """
    one.feed(tokens)
    other.feed(tokens)
    found, expected = (decoding.logits.float().log_softmax(dim=-1) for decoding in (one, other))
    return torch.allclose(found, expected, atol=1e-3 if exact else 0.25, rtol=1e-4 if exact else 0.02)
