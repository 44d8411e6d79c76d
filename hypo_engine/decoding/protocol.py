"""The interface between sampling and decoding, and the interface of fast decoding steps."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hypo_engine.forward.attention_mask import PrefixKeys


class Decoding(Protocol):
    """Responses in progress, which grow by one token per row at a time.

    Attributes:
        logits: [rows, vocab], the logits of each row's next token.
    """

    logits: Tensor

    def feed(self, tokens: Tensor) -> None:
        """Append one token to each row: tokens [rows]."""

    def keep(self, rows: Tensor) -> bool:
        """Drop every row but ``rows`` (ascending indices) if rows can be dropped; returns whether it did."""


class FastStep(Protocol):
    """A decoding step for one model that is faster than the model's modules.

    Attributes:
        tried: Whether its logits were compared with those of the modules.
        follows_routes: Whether it supports a different adapter for each row.
    """

    tried: bool
    follows_routes: bool

    def begin(self, prefix: PrefixKeys, rows: Sequence[int], limit: int, logits: Tensor) -> Decoding | None:
        """Start responses of up to ``limit`` tokens to prompts ``rows``; None if it does not apply.

        Args:
            logits: [len(rows), vocabulary], for the first token.
        """


def same_logits(one: Decoding, other: Decoding, tokens: Tensor, *, exact: bool) -> bool:
    """Whether two decodings of the same rows give the same distributions after the same tokens.

    Args:
        exact: Compare up to float32's rounding; otherwise up to bfloat16's.
    """
    one.feed(tokens)
    other.feed(tokens)
    found, expected = (decoding.logits.float().log_softmax(dim=-1) for decoding in (one, other))
    return torch.allclose(found, expected, atol=1e-3 if exact else 0.25, rtol=1e-4 if exact else 0.02)
