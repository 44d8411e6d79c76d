import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.config import LossType, TrainConfig, field_errors
from hypo_engine.methods.batch import PairLogps
from hypo_engine.methods.dpo import Preference
from hypo_engine.methods.losses import (
    LOSSES,
    MarginLoss,
    clamped_loss,
    ipo_loss,
    leave_one_out_mean,
    preference_loss,
    reward_to_go_kl_loss,
    sequence_kl_loss,
    sigmoid_loss,
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
PREFERRED = 1 / (1 + math.exp(-1.0))  # Bradley-Terry with rewards 1 and 0


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
    # the sampled penalty is noisy: the end point is the mean over the last quarter
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
    """The same for two tokens: the second's distribution depends on the first, which may end the response."""
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


def pair_with(policy: float, reference: float) -> list[Tensor]:
    """Log-probabilities (chosen, rejected, and both of the reference) of a pair with these margins."""
    values = (policy - 40.0, -40.0, reference - 50.0, -50.0)
    return [
        torch.tensor([value], dtype=torch.float64, requires_grad=index < 2)
        for index, value in enumerate(values)
    ]


def loss_and_slope(loss: MarginLoss, policy: float, reference: float, beta: float) -> tuple[float, float]:
    """A pair's loss and its derivative with respect to the policy's margin."""
    logps = pair_with(policy, reference)
    losses = preference_loss(*logps, beta=beta, loss=loss).losses
    slope, back = torch.autograd.grad(losses.sum(), logps[:2])
    assert slope.item() == -back.item()  # only the margin matters
    return losses.item(), slope.item()


@pytest.mark.parametrize("p", [0.6, 0.9, 1.0])
def test_ipo_ends_where_its_paper_says(p: float) -> None:
    """For labels that agree with probability p the optimal margin is (p - 1/2) / tau, even for p = 1."""
    tau, reference = 0.2, -3.0
    margin = (p - 0.5) / tau
    _, right = loss_and_slope(ipo_loss, reference + margin, reference, tau)
    _, wrong = loss_and_slope(ipo_loss, -reference - margin, -reference, tau)
    assert p * right - (1 - p) * wrong == pytest.approx(0.0, abs=1e-12)
    loss, slope = loss_and_slope(ipo_loss, reference + margin + 0.5, reference, tau)
    assert loss == pytest.approx((margin + 0.5 - 1 / (2 * tau)) ** 2)
    assert p * slope - (1 - p) * loss_and_slope(ipo_loss, -reference - margin - 0.5, -reference, tau)[1] > 0.1


def test_ipo_at_step_zero() -> None:
    for beta in (0.1, 0.5):
        loss, slope = loss_and_slope(ipo_loss, -3.0, -3.0, beta)
        assert loss == pytest.approx(1 / (4 * beta**2))
        assert slope == pytest.approx(-1 / beta)


def test_a_clamped_reference_never_prefers_the_rejected_answer() -> None:
    """A wrong policy with margin -1 satisfies DPO if the reference's margin is -3."""
    _, dpo = loss_and_slope(sigmoid_loss, -1.0, -3.0, 1.0)
    loss, slope = loss_and_slope(clamped_loss, -1.0, -3.0, 1.0)
    assert -dpo == pytest.approx(1 / (1 + math.exp(2)))
    assert -slope == pytest.approx(1 / (1 + math.exp(-1)))
    assert loss == pytest.approx(math.log(1 + math.exp(1)))
    for policy, reference in ((-1.0, 3.0), (4.0, 0.0), (2.0, 0.5)):  # neutral or correct reference: plain DPO
        assert loss_and_slope(clamped_loss, policy, reference, 0.3) == pytest.approx(
            loss_and_slope(sigmoid_loss, policy, reference, 0.3), abs=1e-12
        )


def test_the_floor_of_the_clamp() -> None:
    margins, reference = torch.tensor([1.0, 1.0]), torch.tensor([0.5, 2.5])  # policy margins 1.5 and 3.5
    found = clamped_loss(margins, reference, 2.0, floor=2.0)
    torch.testing.assert_close(found, sigmoid_loss(torch.tensor([-0.5, 1.0]), reference, 2.0))


@pytest.mark.parametrize("kind", list(LossType))
def test_every_loss_type_is_resolved_once(kind: LossType) -> None:
    preference = Preference.of(TrainConfig(loss_type=kind, beta=0.3))
    chosen, rejected, *reference = pair_with(-1.0, -3.0)
    one = torch.ones_like(chosen)
    found = preference(PairLogps(chosen, rejected, *reference, one, one, 1.0))
    margins = (-1.0, -3.0) if kind.reads_reference else (-1.0, 0.0)
    assert found.losses.item() == pytest.approx(loss_and_slope(LOSSES[kind], *margins, 0.3)[0])
    reference_logp = -53.0 if kind.reads_reference else 0.0
    assert found.chosen_rewards.item() == pytest.approx(0.3 * (-41.0 - reference_logp))


def test_no_two_loss_types_are_the_same() -> None:
    assert set(LOSSES) == set(LossType)
    assert len({round(loss_and_slope(loss, -1.0, -3.0, 0.3)[0], 6) for loss in LOSSES.values()}) == len(
        LOSSES
    )


def test_label_smoothing_is_for_the_sigmoid_loss() -> None:
    assert TrainConfig(loss_type=LossType.SIGMOID, label_smoothing=0.1).label_smoothing == 0.1
    for kind in ("ipo", "clamped", "simpo"):
        assert field_errors({"loss_type": kind, "label_smoothing": 0.0}) == {}
        assert field_errors({"loss_type": kind, "label_smoothing": 0.1}) == {
            "label_smoothing": "Label smoothing (label_smoothing) is defined for the sigmoid loss only, "
            f"not for {kind}; set it to 0."
        }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_policy_equal_to_its_reference_is_right_in_half_of_the_pairs(dtype: torch.dtype) -> None:
    chosen, rejected = torch.tensor([-46.0, -3.0, -250.0], dtype=dtype), torch.tensor([-9.0] * 3, dtype=dtype)
    same = preference_loss(chosen, rejected, chosen, rejected, beta=0.1)
    assert same.accuracies.tolist() == [0.5, 0.5, 0.5]
    # a different summation order changes the last bit
    other = torch.nextafter(chosen, torch.zeros_like(chosen))
    assert preference_loss(other, rejected, chosen, rejected, beta=0.1).accuracies.tolist() == [0.5] * 3


def test_accuracies_count_pairs_told_apart_and_ties_half() -> None:
    chosen, rejected = torch.tensor([-10.0, -10.0, -10.0]), torch.tensor([-20.0, -20.0, -20.0])
    moved = chosen + torch.tensor([1e-3, 0.0, -1e-3])
    for beta in (1e-3, 10.0):
        found = preference_loss(moved, rejected, chosen, rejected, beta=beta).accuracies
        assert found.tolist() == [1.0, 0.5, 0.0]
