"""From a scorer's numbers to the scores that a method maximises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Response

ScoreResponses = Callable[[Sequence[TokenPair], Sequence[Response]], list[float]]
"""(pair of each response, responses) -> a number for each response."""


@dataclass(frozen=True)
class Scoring:
    """Scores responses: divided by ``std``, limited to ±``clip``, less a penalty without an end token.

    Attributes:
        clip: 0 means no limit.
        missing_eos_penalty: Subtracted from the score of a response that the length limit cut.
    """

    score: ScoreResponses
    std: float = 1.0
    clip: float = 0.0
    missing_eos_penalty: float = 0.0

    @classmethod
    def of(cls, config: TrainConfig, score: ScoreResponses, *, std: float) -> "Scoring":
        """The scoring of a configuration; ``std`` is that of the reference's own answers."""
        divisor = std if config.normalize_reward else 1.0
        return cls(score, divisor, config.reward_clip, config.missing_eos_penalty)

    def __call__(
        self, batch: Sequence[TokenPair], responses: Sequence[Response], device: torch.device
    ) -> Tensor:
        """The scores, [prompts, k] float32; responses of a prompt are adjacent."""
        k = len(responses) // len(batch)
        found = self.score([pair for pair in batch for _ in range(k)], responses)
        scores = torch.tensor(found, dtype=torch.float32, device=device) / self.std
        if self.clip:
            scores = scores.clamp(-self.clip, self.clip)
        cut = torch.tensor([not response.finished for response in responses], device=device)
        return (scores - self.missing_eos_penalty * cut).view(len(batch), k)
