"""From the scores of samples to the advantage of each token: generalised advantage estimation.

Every tensor is [responses, tokens], zero on padding, without gradient. GAE is by Schulman et al., arXiv
1506.02438.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.config import TrainConfig


def token_rewards(
    logps: Tensor, reference_logps: Tensor, scores: Tensor, mask: Tensor, beta: float
) -> Tensor:
    """``-beta * (log pi - log ref)`` of each token, and the score at the last token of the response.

    The sum over a response is its penalised reward (:func:`.losses.penalised_rewards`).

    Args:
        scores: [responses].
    """
    last = mask.sum(dim=1, keepdim=True) - 1
    return (-beta * (logps - reference_logps)).scatter_add(1, last, scores[:, None].to(logps.dtype))


def gae(rewards: Tensor, values: Tensor, *, gamma: float, lam: float) -> Tensor:
    """``sum_l (gamma lam)^l (r_{t+l} + gamma V_{t+l+1} - V_t)`` of each token t.

    A response ends at its last token, also where the length limit cut it: its score is the last reward, and
    the value after it is 0.
    """
    errors = rewards + gamma * F.pad(values[:, 1:], (0, 1)) - values
    ahead, found = torch.zeros_like(errors[:, 0]), list[Tensor]()
    for error in reversed(errors.unbind(dim=1)):
        ahead = error + gamma * lam * ahead
        found.append(ahead)
    return torch.stack(found[::-1], dim=1)


def whiten(values: Tensor, mask: Tensor, *, keep_mean: bool = False) -> Tensor:
    """Scale the tokens' values to standard deviation 1, and to mean 0 unless the mean is kept."""
    tokens = values[mask]
    mean = tokens.mean()
    deviation = ((tokens - mean).square().sum() / max(1, len(tokens) - 1) + 1e-8).sqrt()
    return ((values - mean) / deviation + (mean if keep_mean else 0.0)) * mask


@dataclass(frozen=True)
class Advantages:
    """Computes the advantages and returns of all responses of a step together."""

    beta: float
    gamma: float
    lam: float
    whiten_rewards: bool
    whiten_advantages: bool

    @classmethod
    def of(cls, config: TrainConfig) -> "Advantages":
        """Those of a configuration."""
        return cls(config.beta, config.gamma, config.lam, config.whiten_rewards, config.whiten_advantages)

    def __call__(
        self, logps: Tensor, reference_logps: Tensor, values: Tensor, scores: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Advantages and returns; the arguments are as in :func:`token_rewards` and :func:`gae`."""
        rewards = token_rewards(logps, reference_logps, scores, mask, self.beta)
        if self.whiten_rewards:
            rewards = whiten(rewards, mask, keep_mean=True)
        advantages = gae(rewards, values, gamma=self.gamma, lam=self.lam)
        returns = advantages + values
        return whiten(advantages, mask) if self.whiten_advantages else advantages, returns
