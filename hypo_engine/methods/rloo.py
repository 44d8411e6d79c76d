"""RLOO: policy gradient with a leave-one-out baseline (Ahmadian et al., arXiv 2402.14740)."""

from dataclasses import dataclass

from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss
from hypo_engine.methods.dpo import implicit_rewards
from hypo_engine.methods.losses import penalised_rewards, rloo_loss
from hypo_engine.methods.sampler import reward_metrics


@dataclass(frozen=True)
class RLOO:
    """Maximises the score minus ``beta`` times the sequence KL; one update for each batch of samples."""

    beta: float

    def __call__(self, batch: Batch) -> MethodLoss:
        samples = batch.samples
        assert samples is not None
        assert samples.scores is not None
        rewards = penalised_rewards(samples.logps, samples.reference_logps, samples.scores, self.beta)
        loss = rloo_loss(samples.logps, rewards)
        metrics = reward_metrics(samples, rewards)
        # only the surrogate's gradient is meaningful; `loss` reports the objective itself
        return MethodLoss(loss, metrics | {"loss": -metrics["objective/rlhf_reward"]})

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        return implicit_rewards(batch, self.beta)


def make_rloo(config: TrainConfig) -> RLOO:
    """RLOO with the configuration's beta."""
    return RLOO(config.beta)
