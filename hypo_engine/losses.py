"""The losses of DPO and HyPO: pure functions on tensors, in nats.

DPO: Rafailov et al., arXiv 2305.18290, equation 7; label smoothing: conservative DPO (Mitchell, 2023).
HyPO: Song et al., arXiv 2406.01462; its KL term is estimated with REINFORCE and a leave-one-out
baseline (Kool et al., 2019), because samples carry no gradient of their own.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PreferenceLoss:
    """What :func:`preference_loss` returns; every tensor is [pairs], rewards without gradient."""

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


def preference_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> PreferenceLoss:
    """DPO: ``-(1 - e) log sigmoid(m) - e log sigmoid(-m)``, m = beta * (chosen ratio - rejected ratio).

    Args:
        chosen_logps: [pairs], log pi(y+|x) summed over tokens; the other three likewise.
        beta: Scale of the margin; the implicit reward is beta * log(pi / ref).
        label_smoothing: e, the assumed share of flipped labels, in [0, 0.5).
    """
    chosen_ratios = chosen_logps - reference_chosen_logps
    rejected_ratios = rejected_logps - reference_rejected_logps
    margins = beta * (chosen_ratios - rejected_ratios)
    losses = -(1 - label_smoothing) * F.logsigmoid(margins) - label_smoothing * F.logsigmoid(-margins)
    return PreferenceLoss(losses, beta * chosen_ratios.detach(), beta * rejected_ratios.detach())


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
