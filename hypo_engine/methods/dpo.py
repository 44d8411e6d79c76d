"""DPO and its relatives: a preference loss on the stored pairs, with an optional SFT term."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hypo_engine.config import LossType, TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss, PairLogps
from hypo_engine.methods.losses import LOSSES, PreferenceLoss, preference_loss, simpo_loss, weighted_mean
from hypo_engine.methods.sft import likelihood_losses

_NAMES = (
    "logps/chosen",
    "logps/rejected",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
)


@dataclass(frozen=True)
class Preference:
    """A preference loss with its parameters.

    Attributes:
        loss: From the four log-probabilities, as :func:`.losses.preference_loss`.
        normalized: Divide log-probabilities by the answers' lengths and ignore the reference, as SimPO does.
    """

    loss: Callable[..., PreferenceLoss]
    normalized: bool = False

    @classmethod
    def of(cls, config: TrainConfig) -> "Preference":
        """The preference loss of a configuration."""
        if config.loss_type is LossType.SIMPO:
            loss = partial(simpo_loss, gamma=config.simpo_gamma)
            return cls(partial(preference_loss, loss=loss, beta=config.beta), normalized=True)
        return cls(
            partial(
                preference_loss,
                loss=LOSSES[config.loss_type],
                beta=config.beta,
                label_smoothing=config.label_smoothing,
            )
        )

    def __call__(self, pairs: PairLogps) -> PreferenceLoss:
        """The losses and rewards of the pairs."""
        assert pairs.rejected is not None
        if self.normalized:
            none = torch.zeros_like(pairs.chosen)
            chosen, rejected = pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens
            return self.loss(chosen, rejected, none, none)
        return self.loss(pairs.chosen, pairs.rejected, pairs.reference_chosen, pairs.reference_rejected)

    def held_out(self, pairs: PairLogps) -> dict[str, Tensor]:
        """Values of each pair by metric, as :meth:`.batch.BatchLoss.held_out`."""
        assert pairs.rejected is not None
        found = self(pairs)
        return {
            "loss": found.losses,
            "rewards/chosen": found.chosen_rewards,
            "rewards/rejected": found.rejected_rewards,
            "rewards/margins": found.chosen_rewards - found.rejected_rewards,
            "rewards/accuracies": found.accuracies,
            "logps/chosen": pairs.chosen,
            "logps/rejected": pairs.rejected,
        }


@dataclass(frozen=True)
class DPO:
    """The preference loss plus ``alpha`` times the SFT loss (RPO; Liu et al., arXiv 2405.16436)."""

    preference: Preference
    alpha: float

    def __call__(self, batch: Batch) -> MethodLoss:
        pairs = batch.pairs
        assert pairs is not None
        assert pairs.rejected is not None
        found = self.preference(pairs)
        loss = weighted_mean(found.losses, pairs.weights)
        metrics = preference_metrics(found, pairs)
        metrics["loss"] = metrics["loss/dpo"] = float(loss.detach())
        if self.alpha:
            likelihood = weighted_mean(likelihood_losses(pairs), pairs.weights)
            loss = loss + self.alpha * likelihood
            metrics["loss/sft"] = float(likelihood.detach())
            metrics["loss"] += self.alpha * metrics["loss/sft"]
        return MethodLoss(loss, metrics)

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.pairs is not None
        found = self.preference.held_out(batch.pairs)
        if self.alpha:
            found["loss"] = found["loss"] + self.alpha * likelihood_losses(batch.pairs)
        return found


def make_dpo(config: TrainConfig) -> DPO:
    """DPO with the configuration's preference loss."""
    return DPO(Preference.of(config), config.rpo_alpha)


def implicit_rewards(batch: Batch, beta: float) -> dict[str, Tensor]:
    """Values of held-out pairs for methods that are not trained on pairs: all but a loss."""
    assert batch.pairs is not None
    found = Preference(partial(preference_loss, beta=beta)).held_out(batch.pairs)
    del found["loss"]
    return found


def preference_metrics(found: PreferenceLoss, pairs: PairLogps) -> dict[str, float]:
    """Means over the pairs, by metric."""
    assert pairs.rejected is not None
    margins = found.chosen_rewards - found.rejected_rewards
    values = torch.stack(
        [
            pairs.chosen.detach().mean(),
            pairs.rejected.detach().mean(),
            found.chosen_rewards.mean(),
            found.rejected_rewards.mean(),
            margins.mean(),
            found.accuracies.mean(),
        ]
    ).tolist()
    return dict(zip(_NAMES, values, strict=True))
