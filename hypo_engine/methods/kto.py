"""KTO: a loss on single answers, desirable or not (Ethayarajh et al., arXiv 2402.01306)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.methods.batch import Batch, MethodLoss, PairLogps
from hypo_engine.methods.losses import kto_losses, reward_accuracies


@dataclass(frozen=True)
class KTO:
    """The mean over all answers of :func:`.losses.kto_losses`, times the weight of their side.

    z0 is the mean log-ratio of mismatched answers, at least 0 and without gradient.
    """

    beta: float
    desirable_weight: float
    undesirable_weight: float

    def __call__(self, batch: Batch) -> MethodLoss:
        pairs, point = _pairs(batch), _reference_point(batch)
        chosen, rejected = self._losses(pairs, point)
        if pairs.weights is not None:
            chosen = chosen * pairs.weights[pairs.has_chosen]
            rejected = rejected * pairs.weights[pairs.has_rejected]
        # a mean over the step's answers; the caller counts each batch by its pairs
        loss = (chosen.sum() + rejected.sum()) / (len(pairs.chosen) * pairs.answers)
        values = {name: column for name, column in self._columns(pairs).items() if len(column)}
        means = torch.stack([column.detach().mean() for column in values.values()]).tolist()
        metrics = {"loss": float(loss.detach()), "kl": point, **dict(zip(values, means, strict=True))}
        return MethodLoss(loss, metrics, {name: len(column) for name, column in values.items()})

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        pairs = _pairs(batch)
        losses = torch.cat(self._losses(pairs, _reference_point(batch)))
        return {"loss": losses, **self._columns(pairs)}

    def _losses(self, pairs: PairLogps, point: float) -> tuple[Tensor, Tensor]:
        """Weighted losses of the chosen answers and of the rejected ones."""
        chosen, rejected = _ratios(pairs)
        good = kto_losses(chosen[pairs.has_chosen], point, beta=self.beta, desirable=True)
        bad = kto_losses(rejected[pairs.has_rejected], point, beta=self.beta, desirable=False)
        return self.desirable_weight * good, self.undesirable_weight * bad

    def _columns(self, pairs: PairLogps) -> dict[str, Tensor]:
        """Values by metric, of the answers that are there; margins and accuracies of rows with both."""
        assert pairs.rejected is not None
        chosen, rejected = _ratios(pairs)
        good, bad = pairs.has_chosen, pairs.has_rejected
        both, margins = good & bad, chosen - rejected
        sizes = torch.stack([pairs.chosen, pairs.rejected]).abs().amax(dim=0)
        return {
            "rewards/chosen": self.beta * chosen[good],
            "rewards/rejected": self.beta * rejected[bad],
            "rewards/margins": self.beta * margins[both],
            "rewards/accuracies": reward_accuracies(margins[both], sizes[both]),
            "logps/chosen": pairs.chosen[good],
            "logps/rejected": pairs.rejected[bad],
        }


def make_kto(config: TrainConfig) -> KTO:
    """KTO with the configuration's beta and weights."""
    return KTO(config.beta, config.desirable_weight, config.undesirable_weight)


def _pairs(batch: Batch) -> PairLogps:
    assert batch.pairs is not None
    return batch.pairs


def _reference_point(batch: Batch) -> float:
    """z0; 0 if no answer of the step stands under another prompt."""
    return max(0.0, batch.mismatched or 0.0)


def _ratios(pairs: PairLogps) -> tuple[Tensor, Tensor]:
    """log pi - log ref of the chosen and of the rejected answers, [pairs] each."""
    assert pairs.rejected is not None
    assert pairs.reference_chosen is not None
    assert pairs.reference_rejected is not None
    return pairs.chosen - pairs.reference_chosen, pairs.rejected - pairs.reference_rejected
