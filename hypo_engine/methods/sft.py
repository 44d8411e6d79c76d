"""Supervised fine-tuning on the chosen answers."""

from dataclasses import dataclass

from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss, PairLogps
from hypo_engine.methods.losses import weighted_mean


def likelihood_losses(pairs: PairLogps) -> Tensor:
    """The negative log-likelihood of each chosen answer, in units of the step's mean length: [pairs].

    The mean over a step's pairs is the mean over all their tokens, in nats, as in TRL's ``sft`` loss.
    """
    return -pairs.chosen / pairs.mean_tokens


@dataclass(frozen=True)
class SFT:
    """The mean negative log-likelihood of the chosen answers' tokens."""

    def __call__(self, batch: Batch) -> MethodLoss:
        assert batch.pairs is not None
        loss = weighted_mean(likelihood_losses(batch.pairs), batch.pairs.weights)
        metrics = {"loss": float(loss.detach()), "logps/chosen": float(batch.pairs.chosen.detach().mean())}
        return MethodLoss(loss, metrics)

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        pairs = batch.pairs
        assert pairs is not None
        assert pairs.rejected is not None
        return {
            "loss": likelihood_losses(pairs),
            "logps/chosen": pairs.chosen,
            "logps/rejected": pairs.rejected[pairs.has_rejected],
        }


def make_sft(_config: TrainConfig) -> SFT:
    """SFT, which has no options of its own."""
    return SFT()
