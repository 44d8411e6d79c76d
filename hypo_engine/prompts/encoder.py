"""Chooses how a model encodes prompts: as shared prefixes if it can be packed, else as separate sequences."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hypo_engine.decoding.caching import Caching
from hypo_engine.decoding.protocol import Decoding
from hypo_engine.forward.checkpointing import CheckpointedModel
from hypo_engine.forward.logprobs import Ids, TokenLogps, TopLogps
from hypo_engine.forward.packed import Route, everywhere_the_same
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.separate import SeparateSequences
from hypo_engine.prompts.shared import SharedPrefix


class Encoded(Protocol):
    """Encoded prompts, ready to score completions or to decode."""

    def score(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> TokenLogps:
        """Score ``completions[i]`` after prompt ``rows[i]``; temperature is a number or [len(rows), 1]."""

    def top_logps(self, rows: Sequence[int], completions: Sequence[Ids], k: int) -> list[TopLogps]:
        """As ``score`` at temperature 1, with the k likeliest tokens; no autograd, no empty completion."""

    def score_with_hidden(
        self, rows: Sequence[int], completions: Sequence[Ids], temperature: Tensor | float = 1.0
    ) -> tuple[TokenLogps, Tensor]:
        """As ``score``, with the hidden states that predict the tokens, in their order: [tokens, hidden]."""

    def last_hidden(self, rows: Sequence[int], completions: Sequence[Ids]) -> Tensor:
        """The last layer's hidden state at the last token of each completion: [len(rows), hidden]."""

    def decoding(self, rows: Sequence[int], limit: int) -> Decoding:
        """Start decoding at most ``limit`` tokens after the prompts ``rows``, without autograd."""


Encode = Callable[[Sequence[Ids]], Encoded]


class PromptEncoder:
    """Encodes prompts for one model.

    Attributes:
        shares_prompts: Whether each prompt is encoded once for all its completions.
    """

    def __init__(
        self,
        model: Any,
        *,
        pad_id: int,
        half: bool = False,
        checkpointing: bool = False,
        separate: bool = False,
    ) -> None:
        """Test whether the model can be packed, and set it up.

        Args:
            half: Compute in bfloat16 with float32 weights (autocast).
            checkpointing: Recompute layers in the backward pass.
            separate: Do not pack, and decode with one cache for all rows, because all processes of a
                sharded model must make the same calls.

        Raises:
            ConfigError: the architecture does not support gradient checkpointing.
        """
        packed = None if separate else try_packing(model, half=half)
        if half:
            model.forward = torch.autocast(model.device.type, dtype=torch.bfloat16)(model.forward)
        if packed is not None and checkpointing:
            packed.recompute()
        self.shares_prompts = packed is not None
        self._packed, self._pad_id, self._separate = packed, pad_id, separate
        self._model = CheckpointedModel(model) if checkpointing and packed is None else model

    def __call__(self, prompts: Sequence[Ids], *, route: Route = everywhere_the_same) -> Encoded:
        """Encode prompts; ``route`` is called with the prompt row of every token that the model runs."""
        if self._packed is not None:
            return SharedPrefix(self._packed, prompts, route=route)
        caching: Caching | None = "batched" if self._separate else None
        return SeparateSequences(self._model, prompts, pad_id=self._pad_id, route=route, caching=caching)
