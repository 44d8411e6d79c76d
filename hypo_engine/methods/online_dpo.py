"""Online DPO: a preference loss on the best and the worst of k samples (Guo et al., arXiv 2402.04792)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss, PairLogps, Samples
from hypo_engine.methods.dpo import Preference, implicit_rewards, preference_metrics
from hypo_engine.methods.losses import penalised_rewards
from hypo_engine.methods.sampler import reward_metrics


@dataclass(frozen=True)
class OnlineDPO:
    """The preference loss on the sample with the highest score against the one with the lowest.

    A prompt whose samples all have the same score has no preference and counts with a loss of zero.
    """

    preference: Preference
    beta: float

    def __call__(self, batch: Batch) -> MethodLoss:
        samples = batch.samples
        assert samples is not None
        assert samples.scores is not None
        pairs = best_and_worst(samples, samples.scores)
        found = self.preference(pairs)
        told_apart = (samples.scores.amax(dim=1) > samples.scores.amin(dim=1)).to(found.losses.dtype)
        loss = (found.losses * told_apart).mean()
        rewards = penalised_rewards(samples.logps, samples.reference_logps, samples.scores, self.beta)
        metrics = preference_metrics(found, pairs) | reward_metrics(samples, rewards)
        told = {"loss": float(loss.detach()), "objective/told_apart": float(told_apart.mean())}
        return MethodLoss(loss, metrics | told)

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        return implicit_rewards(batch, self.beta)


def make_online_dpo(config: TrainConfig) -> OnlineDPO:
    """Online DPO with the configuration's preference loss."""
    return OnlineDPO(Preference.of(config), config.beta)


def best_and_worst(samples: Samples, scores: Tensor) -> PairLogps:
    """The best sample of each prompt as chosen and the worst as rejected; among equals the first counts."""
    rows = torch.arange(len(scores), device=scores.device)
    best, worst = scores.argmax(dim=1), scores.argmin(dim=1)
    logps, reference = samples.logps.sum(dim=-1), samples.reference_logps.sum(dim=-1)
    k = scores.shape[1]
    lengths = logps.new_tensor([len(r.response.ids) for r in samples.responses]).view(-1, k)
    return PairLogps(
        logps[rows, best],
        logps[rows, worst],
        reference[rows, best],
        reference[rows, worst],
        lengths[rows, best],
        lengths[rows, worst],
        float(lengths.mean()),
    )
