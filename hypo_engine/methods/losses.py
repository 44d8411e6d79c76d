"""The losses of all methods: pure functions on tensors, in nats.

A margin is log p(y+|x) - log p(y-|x), the log-ratio of the chosen and the rejected answer. A preference
loss is a function of the policy's margin minus the reference's, and of the reference's margin. A new loss
is one such function and a line in :data:`LOSSES`. HyPO: Song et al., arXiv 2406.01462. Its KL term is
estimated with REINFORCE and a leave-one-out baseline (Kool et al., 2019), because sampling is not
differentiable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.config import LossType

MarginLoss = Callable[[Tensor, Tensor, float], Tensor]
"""(policy's minus reference's margins, reference's margins, beta) -> losses; every tensor is [pairs]."""


def sigmoid_loss(margins: Tensor, _reference: Tensor, beta: float) -> Tensor:
    """DPO: ``-log sigmoid(beta * margin)`` (Rafailov et al., arXiv 2305.18290, equation 7)."""
    return -F.logsigmoid(beta * margins)


def ipo_loss(margins: Tensor, _reference: Tensor, beta: float) -> Tensor:
    """IPO: ``(margin - 1 / (2 beta))^2`` (Azar et al., arXiv 2310.12036, equation 17; beta is its tau).

    The log-probabilities are sums over tokens, as in the equation, so beta has the same unit as in the
    other losses and an answer's weight does not depend on its length. TRL's ``ipo`` divides each log-ratio
    by the length of the answer, so its beta has another scale. At step 0 the loss is 1 / (4 beta^2).
    """
    return (margins - 1 / (2 * beta)) ** 2


def clamped_loss(margins: Tensor, reference: Tensor, beta: float, *, floor: float = 0.0) -> Tensor:
    """DPO with ``max(floor, reference's margin)`` in place of the reference's (arXiv 2602.11902).

    If the reference prefers the rejected answer, DPO's gradient vanishes once the policy is less wrong
    than the reference; here it vanishes only once the policy itself prefers the chosen answer. Pairs above
    the floor are treated as in DPO. ``floor`` is the paper's gamma, 0 there by default.
    """
    return sigmoid_loss(margins - (floor - reference).clamp(min=0), reference, beta)


def simpo_loss(margins: Tensor, _reference: Tensor, beta: float, *, gamma: float = 0.5) -> Tensor:
    """SimPO: ``-log sigmoid(beta * margin - gamma)`` (Meng et al., arXiv 2405.14734, equation 6).

    The margin is of mean log-probabilities a token, and there is no reference. ``gamma`` is TRL's
    ``simpo_gamma``: the target margin after beta is applied.
    """
    return -F.logsigmoid(beta * margins - gamma)


LOSSES: Final[dict[LossType, MarginLoss]] = {
    LossType.SIGMOID: sigmoid_loss,
    LossType.IPO: ipo_loss,
    LossType.CLAMPED: clamped_loss,
    LossType.SIMPO: simpo_loss,
}


@dataclass(frozen=True, slots=True)
class PreferenceLoss:
    """The result of :func:`preference_loss`; every tensor is [pairs], and only the losses have a gradient."""

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    accuracies: Tensor


def preference_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    loss: MarginLoss = sigmoid_loss,
) -> PreferenceLoss:
    """Compute the loss of each pair, and the implicit rewards beta * log(pi / ref).

    Args:
        chosen_logps: [pairs], log pi(y+|x) summed over tokens; the other three likewise.
        beta: Scale of the margins.
        label_smoothing: e in [0, 0.5), the assumed share of flipped labels (conservative DPO, Mitchell,
            2023): (1 - e) times the loss plus e times the loss of the flipped pair.
        loss: One of :data:`LOSSES`.
    """
    chosen_ratios = chosen_logps - reference_chosen_logps
    rejected_ratios = rejected_logps - reference_rejected_logps
    # differences of ratios, because log-probabilities are large and their rounding would dominate the margin
    margins, reference = chosen_ratios - rejected_ratios, reference_chosen_logps - reference_rejected_logps
    losses = loss(margins, reference, beta)
    if label_smoothing:
        flipped = loss(-margins, -reference, beta)
        losses = (1 - label_smoothing) * losses + label_smoothing * flipped
    sizes = torch.stack([chosen_logps, rejected_logps]).detach().abs().amax(dim=0)
    return PreferenceLoss(
        losses,
        beta * chosen_ratios.detach(),
        beta * rejected_ratios.detach(),
        reward_accuracies(margins.detach(), sizes),
    )


def reward_accuracies(margins: Tensor, logps: Tensor) -> Tensor:
    """1 for a positive margin, 0 for a negative one, 1/2 for a tie (policy equal to reference).

    Margins are differences of log-probabilities, whose last bits depend on how they are computed. A margin
    of at most eight units in the last place is a tie.

    Args:
        margins: [pairs], in nats, without beta.
        logps: [pairs], the largest absolute log-probability in each margin.

    Returns:
        [pairs].
    """
    ties = margins.abs() <= 8 * torch.finfo(margins.dtype).eps * logps
    return torch.where(ties, 0.5, (margins > 0).to(margins.dtype))


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of ``weights * values``; the plain mean without weights.

    The weights are divided by the mean of their step, so that the mean over a step's batches, each counted by
    its pairs, is ``sum(weight * value) / sum(weight)`` over the step.

    Args:
        values: [pairs], and ``weights`` likewise.
    """
    return values.mean() if weights is None else (weights * values).mean()


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, *, margins: Tensor | None = None, center: float = 0.0
) -> Tensor:
    """The loss of a reward model: ``-log sigmoid(r+ - r- - margin) + center * (r+ + r-)^2``, [pairs].

    A pair's margin says how much better its chosen answer is (Touvron et al., arXiv 2307.09288, equation 2).
    The second term, TRL's ``center_rewards_coefficient`` (Eisenstein et al., arXiv 2312.09244), keeps the
    rewards near zero, which the first one leaves free.
    """
    difference = chosen - rejected
    losses = -F.logsigmoid(difference if margins is None else difference - margins)
    return losses + center * (chosen + rejected) ** 2 if center else losses


def kto_losses(ratios: Tensor, reference_point: float, *, beta: float, desirable: bool) -> Tensor:
    """KTO: ``1 - sigmoid(beta * (ratio - z0))``, or ``1 - sigmoid(beta * (z0 - ratio))``: [answers].

    The second is for undesirable answers. Ethayarajh et al., arXiv 2402.01306, without the weights lambda. At
    step 0 it is 1/2.

    Args:
        ratios: [answers], log pi(y|x) - log ref(y|x).
        reference_point: z0, which has no gradient.
    """
    above = ratios - reference_point
    return torch.sigmoid(-beta * above if desirable else beta * above)


def leave_one_out_mean(values: Tensor) -> Tensor:
    """For each of k samples (dimension 1), the mean of the other k-1; zero if k is 1.

    Args:
        values: [prompts, k, ...].
    """
    k = values.shape[1]
    if k == 1:
        return torch.zeros_like(values)
    return (values.sum(dim=1, keepdim=True) - values) / (k - 1)


def sequence_kl_loss(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """Score-function surrogate of the reverse KL: the mean of ``log pi(y|x) * stopgrad(r - b)``.

    r = log pi(y|x) - log ref(y|x); b is the leave-one-out mean of r over the other samples of the prompt.
    The gradient is an unbiased estimate of grad KL(pi || ref); the value is not the KL.

    Args:
        logps: [prompts, k, tokens], with gradient, zero on padding.
        reference_logps: The same shape, at the same temperature.

    Returns:
        A scalar.
    """
    sequence_logps = logps.sum(dim=-1)
    ratios = sequence_logps.detach() - reference_logps.sum(dim=-1).detach()
    return (sequence_logps * (ratios - leave_one_out_mean(ratios))).mean()


def penalised_rewards(logps: Tensor, reference_logps: Tensor, scores: Tensor, beta: float) -> Tensor:
    """``score - beta * (log pi - log ref)`` of each sample, without gradient: [prompts, k].

    The log-ratio is the KL's plain estimate (k1), which is negative for some samples. In the reward it gives
    the gradient of the KL itself; other estimates do not.

    Args:
        logps: [prompts, k, tokens], zero on padding; ``reference_logps`` likewise.
        scores: [prompts, k].
    """
    ratios = logps.detach().sum(dim=-1) - reference_logps.detach().sum(dim=-1)
    return scores - beta * ratios


def rloo_loss(logps: Tensor, rewards: Tensor) -> Tensor:
    """RLOO: the mean of ``-log pi(y|x) * (R - b)``, where b is the mean reward of the other samples.

    The gradient is an unbiased estimate of that of minus the expected reward; the value is not.

    Args:
        logps: [prompts, k, tokens], with gradient, zero on padding.
        rewards: [prompts, k], from :func:`penalised_rewards`.
    """
    return -(logps.sum(dim=-1) * (rewards - leave_one_out_mean(rewards))).mean()


def reward_to_go_kl_loss(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """:func:`sequence_kl_loss` with each token weighted by the ratios from itself to the end.

    mean over samples of ``sum_t log pi_t * stopgrad(R_t - b_t)``, R_t = sum_{s >= t} r_s: a token does not
    affect the ratios before it, so the expectation is the same and the variance is lower. b_t is the
    leave-one-out mean of R_t at the same position (zero after the end of a sample).
    """
    ratios = (logps - reference_logps).detach()
    to_go = ratios.flip(-1).cumsum(dim=-1).flip(-1)
    return (logps * (to_go - leave_one_out_mean(to_go))).sum(dim=-1).mean()
