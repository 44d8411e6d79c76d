"""HyPO: DPO's loss plus a reverse-KL penalty on the policy's own samples (Song et al., arXiv 2406.01462)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hypo_engine.config import KLEstimator, TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss
from hypo_engine.methods.dpo import DPO, make_dpo
from hypo_engine.methods.losses import reward_to_go_kl_loss, sequence_kl_loss

_KL_LOSSES = {KLEstimator.SEQUENCE: sequence_kl_loss, KLEstimator.REWARD_TO_GO: reward_to_go_kl_loss}


@dataclass(frozen=True)
class HyPO:
    """``loss_dpo + kl_coef * loss_kl``."""

    dpo: DPO
    kl_coef: float
    kl_loss: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, batch: Batch) -> MethodLoss:
        samples = batch.samples
        assert samples is not None
        found = self.dpo(batch)
        kl_loss = self.kl_loss(samples.logps, samples.reference_logps)
        # only the surrogate's gradient is meaningful; `loss` reports the objective itself
        metrics = found.metrics | {
            "loss": found.metrics["loss"] + self.kl_coef * samples.metrics["objective/kl"],
            "loss/kl": float(kl_loss.detach()),
        }
        return MethodLoss(found.loss + self.kl_coef * kl_loss, metrics)

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        return self.dpo.held_out(batch)


def make_hypo(config: TrainConfig) -> HyPO:
    """HyPO with the configuration's preference loss and KL estimator."""
    return HyPO(make_dpo(config), config.kl_coef, _KL_LOSSES[config.kl_estimator])
