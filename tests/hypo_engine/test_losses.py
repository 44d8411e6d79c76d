import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.losses import (
    leave_one_out_mean,
    preference_loss,
    reward_to_go_kl_loss,
    sequence_kl_loss,
)

Loss = Callable[[Tensor, Tensor], Tensor]


def kl(policy: Tensor, reference: Tensor) -> Tensor:
    return (policy * (policy.log() - reference.log())).sum()


@pytest.mark.parametrize(("e", "expected"), [(1e-2, 4.50), (1e-6, 13.62), (1e-12, 27.30)])
def test_dpo_cannot_see_the_mass_it_moves_off_the_pairs(e: float, expected: float) -> None:
    reference = torch.tensor([(1 - e) / 2, (1 - e) / 2, e], dtype=torch.float64)
    ratio = math.exp(1.0)
    w = torch.tensor([ratio / (1 + ratio), 1 / (1 + ratio)], dtype=torch.float64)
    for p in (0.01, 0.5, 0.99):
        policy = torch.cat([w * (1 - p), torch.tensor([p], dtype=torch.float64)])
        logps, reference_logps = policy.log(), reference.log()
        losses = [
            preference_loss(
                logps[[a]], logps[[b]], reference_logps[[a]], reference_logps[[b]], beta=1.0
            ).losses.item()
            for a, b in ((0, 1), (1, 0))
        ]
        preferred = ratio / (1 + ratio)
        assert preferred * losses[0] + (1 - preferred) * losses[1] == pytest.approx(0.582203, abs=1e-6)
    assert kl(policy, reference).item() == pytest.approx(expected, abs=0.005)


E_LEAK, BETA = 1e-4, 0.1
REFERENCE = torch.tensor([(1 - E_LEAK) / 2, (1 - E_LEAK) / 2, E_LEAK], dtype=torch.float64).log()
FEATURES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]], dtype=torch.float64)
PREFERRED = 1 / (1 + math.exp(-1.0))  # Bradley-Terry on rewards 1 and 0


def expected_dpo_loss(logps: Tensor) -> Tensor:
    chosen, rejected = logps[[0, 1]], logps[[1, 0]]
    losses = preference_loss(chosen, rejected, REFERENCE[[0, 1]], REFERENCE[[1, 0]], beta=BETA).losses
    return PREFERRED * losses[0] + (1 - PREFERRED) * losses[1]


def sampled_penalty(logps: Tensor, generator: torch.Generator) -> Tensor:
    """The project's estimator on 16 draws of k = 2 one-token responses."""
    drawn = torch.multinomial(logps.detach().exp(), 32, replacement=True, generator=generator)
    shape = (16, 2, 1)
    return sequence_kl_loss(logps[drawn].view(shape), REFERENCE[drawn].view(shape))


@pytest.mark.parametrize(
    ("penalty", "p1", "p3", "divergence"),
    [("none", 0.185, 0.815, 7.16), ("exact", 0.943, 0.054, 0.92), ("sampled", 0.948, 0.048, 0.89)],
)
def test_training_finds_the_leak_and_the_kl_penalty_closes_it(
    penalty: str, p1: float, p3: float, divergence: float
) -> None:
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=0.02)
    generator = torch.Generator().manual_seed(0)
    late: list[Tensor] = []
    for step in range(4000):
        logps = F.log_softmax(REFERENCE + FEATURES @ theta, dim=0)
        loss = expected_dpo_loss(logps)
        if penalty == "exact":
            loss = loss + 0.03 * (logps.exp() * (logps - REFERENCE)).sum()
        elif penalty == "sampled":
            loss = loss + 0.03 * sampled_penalty(logps, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= 3000:
            late.append(theta.detach().clone())
    # the sampled penalty jitters: the end is the mean over the last quarter
    end = torch.stack(late).mean(dim=0) if penalty == "sampled" else theta.detach()
    policy = F.softmax(REFERENCE + FEATURES @ end, dim=0)
    slack = 0.03 if penalty == "sampled" else 0.002
    assert policy[0].item() == pytest.approx(p1, abs=slack)
    assert policy[2].item() == pytest.approx(p3, abs=slack)
    assert kl(policy, REFERENCE.exp()).item() == pytest.approx(divergence, abs=max(0.01, 4 * slack))


def gradients(loss_of: Loss, draws: int = 400_000) -> tuple[Tensor, Tensor]:
    """Estimated and exact gradient of KL(pi || ref) with respect to the logits of three responses."""
    logits = torch.tensor([0.3, -0.7, 0.5], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    logps = F.log_softmax(logits, dim=0)
    (exact,) = torch.autograd.grad(kl(logps.exp(), reference), logits, retain_graph=True)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.multinomial(logps.detach().exp(), draws, replacement=True, generator=generator)
    loss = loss_of(logps[drawn].view(-1, 2, 1), reference.log()[drawn].view(-1, 2, 1))
    (estimated,) = torch.autograd.grad(loss, logits)
    return estimated, exact


@pytest.mark.parametrize("loss", [sequence_kl_loss, reward_to_go_kl_loss])
def test_estimators_agree_with_the_exact_gradient(loss: Loss) -> None:
    estimated, exact = gradients(loss)
    assert exact.abs().max() > 0.2
    torch.testing.assert_close(estimated, exact, atol=5e-3, rtol=0)


def test_the_naive_estimator_averages_to_nothing() -> None:
    estimated, _ = gradients(lambda logps, reference: (logps - reference).mean())
    assert estimated.abs().max() < 5e-3


def two_token_gradients(loss_of: Loss, draws: int) -> tuple[Tensor, Tensor]:
    """The same for two tokens: the second's distribution depends on the first, the first may end it."""
    parameters = torch.tensor([0.4, -0.3, 0.8, -0.5], dtype=torch.float64, requires_grad=True)

    def log_probs(theta: Tensor) -> tuple[Tensor, Tensor]:
        first = F.log_softmax(torch.stack([theta[0], theta[1], torch.zeros_like(theta[0])]), dim=0)
        second = F.logsigmoid(torch.stack([theta[2], theta[3]])[:, None] * torch.tensor([1.0, -1.0]))
        return first, second  # first token 2 ends the response

    reference = log_probs(torch.tensor([-0.2, 0.5, -1.2, 1.5], dtype=torch.float64))
    first, second = log_probs(parameters)
    exact_kl = (first.exp() * (first - reference[0])).sum()
    for a in (0, 1):
        exact_kl = exact_kl + first[a].exp() * (second[a].exp() * (second[a] - reference[1][a])).sum()
    (exact,) = torch.autograd.grad(exact_kl, parameters, retain_graph=True)
    generator = torch.Generator().manual_seed(2)
    a = torch.multinomial(first.detach().exp(), draws, replacement=True, generator=generator)
    b = (torch.rand(draws, generator=generator) > second.detach().exp()[a.clamp(max=1), 0]).long()
    ends = a == 2

    def stack(pair: tuple[Tensor, Tensor]) -> Tensor:
        later = pair[1][a.clamp(max=1), b].masked_fill(ends, 0.0)
        return torch.stack([pair[0][a], later], dim=1).view(-1, 2, 2)

    (estimated,) = torch.autograd.grad(loss_of(stack((first, second)), stack(reference)), parameters)
    return estimated, exact


@pytest.mark.parametrize("loss", [sequence_kl_loss, reward_to_go_kl_loss])
def test_estimators_agree_on_sequences(loss: Loss) -> None:
    estimated, exact = two_token_gradients(loss, 400_000)
    assert exact.abs().min() > 0.02
    torch.testing.assert_close(estimated, exact, atol=6e-3, rtol=0)


def test_a_per_token_product_would_drop_the_cross_terms() -> None:
    estimated, exact = two_token_gradients(
        lambda logps, reference: (logps * (logps - reference).detach()).sum(-1).mean(), 400_000
    )
    assert (estimated - exact).abs().max() > 0.03


def test_reward_to_go_varies_less() -> None:
    def spread(loss: Loss) -> float:
        values = []
        for seed in range(200):
            torch.manual_seed(seed)
            logps = torch.randn(1, 2, 6, dtype=torch.float64, requires_grad=True)
            (g,) = torch.autograd.grad(loss(logps, torch.zeros(1, 2, 6)), logps)
            values.append(g.pow(2).sum().item())
        return sum(values)

    with torch.random.fork_rng():
        assert spread(reward_to_go_kl_loss) < spread(sequence_kl_loss)


def test_leave_one_out_mean() -> None:
    values = torch.tensor([[1.0, 2.0, 6.0]])
    assert leave_one_out_mean(values).tolist() == [[4.0, 3.5, 1.5]]
    assert leave_one_out_mean(values.T).tolist() == [[0.0], [0.0], [0.0]]  # k = 1 has no baseline


def test_the_step_zero_loss_is_ln_two_whatever_beta() -> None:
    logps = torch.tensor([-30.0, -400.0])
    for beta in (0.01, 1.0):
        found = preference_loss(logps, logps - 3, logps, logps - 3, beta=beta)
        assert found.losses.tolist() == pytest.approx([math.log(2)] * 2, abs=1e-6)
        assert found.chosen_rewards.tolist() == found.rejected_rewards.tolist() == [0.0, 0.0]


def test_label_smoothing_mixes_both_labels() -> None:
    arguments = [torch.tensor([x]) for x in (-10.0, -12.0, -11.0, -10.5)]
    plain = preference_loss(*arguments, beta=0.5).losses
    chosen, rejected, reference_chosen, reference_rejected = arguments
    flipped = preference_loss(rejected, chosen, reference_rejected, reference_chosen, beta=0.5).losses
    smoothed = preference_loss(*arguments, beta=0.5, label_smoothing=0.2).losses
    torch.testing.assert_close(smoothed, 0.8 * plain + 0.2 * flipped)


def test_rewards_carry_no_gradient() -> None:
    logps = torch.tensor([-1.0], requires_grad=True)
    found = preference_loss(logps, logps * 2, logps.detach(), logps.detach(), beta=0.1)
    assert found.losses.requires_grad
    assert not found.chosen_rewards.requires_grad
    assert not found.rejected_rewards.requires_grad
