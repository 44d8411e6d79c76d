"""PPO: a clipped policy gradient with a value head (Schulman et al., arXiv 1707.06347), as in RLHF."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss, Replay
from hypo_engine.methods.dpo import implicit_rewards


@dataclass(frozen=True)
class PPO:
    """The clipped surrogate of the advantages, plus ``vf_coef`` times the clipped value loss.

    Both are means over the tokens of a step. An update reads samples that :mod:`.rollouts` keeps.
    """

    beta: float
    cliprange: float
    cliprange_value: float
    vf_coef: float

    def __call__(self, batch: Batch) -> MethodLoss:
        replay = batch.replay
        assert replay is not None
        moved = replay.logps - replay.old_logps
        policy, policy_clipped = policy_losses(replay, self.cliprange)
        value, value_clipped = value_losses(replay, self.cliprange_value)
        policy_loss, value_loss = replay.mean(policy), replay.mean(value)
        loss = policy_loss + self.vf_coef * value_loss
        found = {
            "loss": loss,
            "loss/policy_avg": policy_loss,
            "loss/value_avg": value_loss,
            "policy/approxkl_avg": replay.mean(0.5 * moved.square()),
            "policy/clipfrac_avg": replay.mean(policy_clipped),
            "val/clipfrac_avg": replay.mean(value_clipped),
            "val/ratio": replay.mean(moved.exp()),
        }
        numbers = torch.stack([number.detach() for number in found.values()]).tolist()
        return MethodLoss(loss, dict(zip(found, numbers, strict=True)))

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        return implicit_rewards(batch, self.beta)


def make_ppo(config: TrainConfig) -> PPO:
    """PPO with the configuration's limits."""
    return PPO(config.beta, config.cliprange, config.cliprange_value, config.vf_coef)


def policy_losses(replay: Replay, cliprange: float) -> tuple[Tensor, Tensor]:
    """``-min(ratio A, clip(ratio) A)`` of each token, and 1 where the limit counts.

    The ratio is pi / pi_old, so in the first update it is 1, and the gradient is that of ``-A log pi``.
    """
    ratios = (replay.logps - replay.old_logps).exp()
    free = -replay.advantages * ratios
    limited = -replay.advantages * ratios.clamp(1 - cliprange, 1 + cliprange)
    return torch.maximum(free, limited), (limited > free).to(free.dtype)


def value_losses(replay: Replay, cliprange: float) -> tuple[Tensor, Tensor]:
    """Half the squared error of each value, or of the value within the limit if that error is larger."""
    near = replay.old_values + (replay.values - replay.old_values).clamp(-cliprange, cliprange)
    free, limited = (replay.values - replay.returns).square(), (near - replay.returns).square()
    return 0.5 * torch.maximum(free, limited), (limited > free).to(free.dtype)
