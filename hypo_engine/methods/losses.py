"""The losses of DPO and HyPO: pure functions on tensors, in nats.

A margin is how much more likely the chosen answer is than the rejected one, log p(y+|x) - log p(y-|x). A
preference loss is a function of a pair's margin, the policy's less the reference's, and of the reference's
own; another loss is one such function and its line in :data:`LOSSES`.
HyPO: Song et al., arXiv 2406.01462; its KL term is estimated with REINFORCE and a leave-one-out
baseline (Kool et al., 2019), because samples carry no gradient of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.config import LossType

MarginLoss = Callable[[Tensor, Tensor, float], Tensor]
"""(policy's less reference's margins, reference's margins, beta) -> losses; every tensor is [pairs]."""


def sigmoid_loss(margins: Tensor, _reference: Tensor, beta: float) -> Tensor:
    """DPO: ``-log sigmoid(beta * margin)`` (Rafailov et al., arXiv 2305.18290, equation 7)."""
    return -F.logsigmoid(beta * margins)


def ipo_loss(margins: Tensor, _reference: Tensor, beta: float) -> Tensor:
    """IPO: ``(margin - 1 / (2 beta))^2`` (Azar et al., arXiv 2310.12036, equation 17; beta is its tau).

    The margins are of sums over tokens, as the equation has them: so beta keeps the unit that it has in
    the other losses, and an answer counts as one answer whatever its length. TRL's ``ipo`` divides each
    log-ratio by its answer's length first; its beta is therefore on another scale. At step 0 the loss is
    1 / (4 beta^2).
    """
    return (margins - 1 / (2 * beta)) ** 2


def clamped_loss(margins: Tensor, reference: Tensor, beta: float, *, floor: float = 0.0) -> Tensor:
    """DPO with ``max(floor, reference's margin)`` in place of the reference's (arXiv 2602.11902).

    Where the reference prefers the rejected answer, DPO's gradient fades as soon as the policy is less
    wrong than the reference; here it fades only when the policy itself prefers the chosen one. Pairs above
    the floor are DPO's. ``floor`` is the paper's gamma, 0 there by default.
    """
    return sigmoid_loss(margins - (floor - reference).clamp(min=0), reference, beta)


LOSSES: Final[dict[LossType, MarginLoss]] = {
    LossType.SIGMOID: sigmoid_loss,
    LossType.IPO: ipo_loss,
    LossType.CLAMPED: clamped_loss,
}


@dataclass(frozen=True, slots=True)
class PreferenceLoss:
    """What :func:`preference_loss` returns; every tensor is [pairs], only the losses have a gradient."""

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
    """The loss of each pair, and the rewards beta * log(pi / ref) that every loss implies alike.

    Args:
        chosen_logps: [pairs], log pi(y+|x) summed over tokens; the other three likewise.
        beta: Scale of the margins.
        label_smoothing: e in [0, 0.5), the assumed share of flipped labels (conservative DPO, Mitchell,
            2023): (1 - e) times the loss and e times the loss of the pair the other way round.
        loss: One of :data:`LOSSES`.
    """
    chosen_ratios = chosen_logps - reference_chosen_logps
    rejected_ratios = rejected_logps - reference_rejected_logps
    # of ratios, not of log-probabilities: those are large, and their rounding would be the margin's
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
    """1 for a margin above zero, 0 below, 1/2 for a tie: a policy equal to its reference gets 1/2.

    Margins are differences of log-probabilities, and two ways to compute one of those differ in its last
    bits. A margin that this explains, eight units in the last place, is a tie.

    Args:
        margins: [pairs], in nats, without beta.
        logps: [pairs], the largest absolute log-probability behind each margin.

    Returns:
        [pairs].
    """
    ties = margins.abs() <= 8 * torch.finfo(margins.dtype).eps * logps
    return torch.where(ties, 0.5, (margins > 0).to(margins.dtype))


def leave_one_out_mean(values: Tensor) -> Tensor:
    """For each of k samples the mean of the other k-1 (dimension 1); zero when k is 1.

    Args:
        values: [prompts, k, ...].
    """
    k = values.shape[1]
    if k == 1:
        return torch.zeros_like(values)
    return (values.sum(dim=1, keepdim=True) - values) / (k - 1)


def sequence_kl_loss(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """Score-function surrogate of the reverse KL: mean of ``log pi(y|x) * stopgrad(r - b)``.

    r = log pi(y|x) - log ref(y|x); b is the leave-one-out mean of r over the other samples of the
    prompt. Its gradient is an unbiased estimate of grad KL(pi || ref); its value is not the KL.

    Args:
        logps: [prompts, k, tokens], with gradient, zero on padding.
        reference_logps: The same shape, at the same temperature.

    Returns:
        A scalar.
    """
    sequence_logps = logps.sum(dim=-1)
    ratios = sequence_logps.detach() - reference_logps.sum(dim=-1).detach()
    return (sequence_logps * (ratios - leave_one_out_mean(ratios))).mean()


def reward_to_go_kl_loss(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """As :func:`sequence_kl_loss`, each token weighed by the ratios from itself to the end.

    mean over samples of ``sum_t log pi_t * stopgrad(R_t - b_t)``, R_t = sum_{s >= t} r_s: a token does
    not change the ratios before it, so the expectation is the same and the variance less. b_t is the
    leave-one-out mean of R_t at the same position (zero where a sample has ended: no KL remains).
    """
    ratios = (logps - reference_logps).detach()
    to_go = ratios.flip(-1).cumsum(dim=-1).flip(-1)
    return (logps * (to_go - leave_one_out_mean(to_go))).sum(dim=-1).mean()
