"""A reward model: Bradley-Terry on the stored pairs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss, PairRewards
from hypo_engine.methods.losses import bradley_terry_loss, weighted_mean


@dataclass(frozen=True)
class Reward:
    """``-log sigmoid(r(chosen) - r(rejected) - margin)`` plus ``center * (r(chosen) + r(rejected))^2``.

    Held-out losses are without margins, so that runs with margins and without compare.
    """

    center: float

    def __call__(self, batch: Batch) -> MethodLoss:
        rewards = batch.rewards
        assert rewards is not None
        losses = self._losses(rewards, rewards.margins)
        loss = weighted_mean(losses, rewards.weights)
        both = torch.cat([rewards.chosen, rewards.rejected]).detach()
        values = {name: column.detach().mean() for name, column in _columns(rewards).items()}
        values |= {"min_reward": both.min(), "mean_reward": both.mean(), "max_reward": both.max()}
        names, numbers = list(values), torch.stack(list(values.values())).tolist()
        return MethodLoss(loss, {"loss": float(loss.detach()), **dict(zip(names, numbers, strict=True))})

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.rewards is not None
        return {"loss": self._losses(batch.rewards), **_columns(batch.rewards)}

    def _losses(self, rewards: PairRewards, margins: Tensor | None = None) -> Tensor:
        return bradley_terry_loss(rewards.chosen, rewards.rejected, margins=margins, center=self.center)


def make_reward(config: TrainConfig) -> Reward:
    """Bradley-Terry with the configuration's centering."""
    return Reward(config.center_rewards_coefficient)


def _columns(rewards: PairRewards) -> dict[str, Tensor]:
    """Values of each pair by metric, [pairs] each."""
    margins = rewards.chosen - rewards.rejected
    return {
        "rewards/chosen": rewards.chosen,
        "rewards/rejected": rewards.rejected,
        "rewards/margins": margins,
        "rewards/accuracies": torch.where(margins == 0, 0.5, (margins > 0).to(margins.dtype)),
    }
