"""RLOO and online DPO: exact gradients on three arms, known answers, and the samples that they score."""

import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.config import TrainConfig, field_errors
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Response
from hypo_engine.methods.batch import Batch, Samples, ScoredResponse
from hypo_engine.methods.losses import leave_one_out_mean, penalised_rewards, rloo_loss, sequence_kl_loss
from hypo_engine.methods.objective import make_objective
from hypo_engine.methods.online_dpo import make_online_dpo
from hypo_engine.methods.rloo import make_rloo
from hypo_engine.methods.scoring import Scoring
from hypo_engine.models.policy import load_policy
from tests.hypo_engine.test_estimators import standard_errors

BETA = 0.4
LOGITS = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
REFERENCE = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
SCORES = torch.tensor([1.0, -0.5, 0.4], dtype=torch.float64)
RESPONSE = ScoredResponse(TokenPair(0, [1], [2], [2]), 0, Response([3], True, [0.0]), -1.0, -1.0)
CONFIG = {"reward": "length", "beta": BETA}


def samples_of(logps: Tensor, reference: Tensor, scores: Tensor) -> Samples:
    """Samples from [prompts, k] log-probabilities of one-token responses."""
    metrics = {"objective/kl": float((logps.detach() - reference).mean())}
    responses = [RESPONSE] * logps.numel()
    return Samples(logps[..., None], reference[..., None], responses, metrics, scores)


def estimates(method: Callable[[Batch], object], *, k: int, groups: int = 40_000) -> Tensor:
    """The gradient of each group of k draws for the first two logits: [groups, 2]."""
    logps = F.log_softmax(LOGITS, dim=0)
    generator = torch.Generator().manual_seed(k)
    drawn = torch.multinomial(logps.exp(), groups * k, replacement=True, generator=generator).view(groups, k)
    leaf = logps[drawn].requires_grad_()
    loss = method(Batch(samples=samples_of(leaf, REFERENCE[drawn], SCORES[drawn]))).loss  # type: ignore[attr-defined]
    (weights,) = torch.autograd.grad(loss, leaf)
    scores = torch.eye(3, dtype=torch.float64) - logps.exp()
    return (groups * weights[..., None] * scores[drawn]).sum(dim=1)[:, :2]


@pytest.mark.parametrize("k", [2, 4])
def test_rloos_gradient_is_that_of_score_less_kl(k: int) -> None:
    logits = LOGITS.clone().requires_grad_()
    logps = F.log_softmax(logits, dim=0)
    value = (logps.exp() * (SCORES - BETA * (logps - REFERENCE))).sum()
    (exact,) = torch.autograd.grad(-value, logits)
    found = estimates(make_rloo(TrainConfig(method="rloo", **CONFIG)), k=k)
    assert standard_errors(found, exact[:2]) < 3
    assert standard_errors(found, torch.zeros(2, dtype=torch.float64)) > 100


@pytest.mark.parametrize("k", [2, 3])
def test_online_dpos_gradient_is_that_of_its_expected_loss(k: int) -> None:
    """The expectation runs over all groups of k arms; sampling itself is not differentiated."""
    method = make_online_dpo(TrainConfig(method="online_dpo", **CONFIG))
    logits = LOGITS.clone().requires_grad_()
    logps = F.log_softmax(logits, dim=0)
    expected = torch.zeros((), dtype=torch.float64)
    for arms in product(range(3), repeat=k):
        drawn = torch.tensor([arms])
        loss = method(Batch(samples=samples_of(logps[drawn], REFERENCE[drawn], SCORES[drawn]))).loss
        expected = expected + logps[drawn].sum().exp().detach() * loss
    (exact,) = torch.autograd.grad(expected, logits)
    found = estimates(method, k=k)
    assert standard_errors(found, exact[:2]) < 3
    assert standard_errors(found, torch.zeros(2, dtype=torch.float64)) > 100


def random_logps(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logps = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64)
    return logps.requires_grad_(), torch.randn(5, 3, 4, generator=generator, dtype=torch.float64)


def rloo_gradient(logps: Tensor, reference: Tensor, scores: Tensor, beta: float) -> Tensor:
    (found,) = torch.autograd.grad(rloo_loss(logps, penalised_rewards(logps, reference, scores, beta)), logps)
    return found


def test_a_constant_score_leaves_hypos_kl_gradient() -> None:
    logps, reference = random_logps()
    (kl,) = torch.autograd.grad(sequence_kl_loss(logps, reference), logps)
    for constant in (0.0, 7.5):
        scores = torch.full((5, 3), constant, dtype=torch.float64)
        torch.testing.assert_close(rloo_gradient(logps, reference, scores, BETA), BETA * kl)


def test_scores_and_beta_scale_the_gradient_together() -> None:
    logps, reference = random_logps()
    scores = torch.randn(5, 3, dtype=torch.float64)
    once = rloo_gradient(logps, reference, scores, BETA)
    torch.testing.assert_close(rloo_gradient(logps, reference, 3 * scores, 3 * BETA), 3 * once)


def test_two_samples_have_opposite_advantages_and_equal_ones_none() -> None:
    rewards = torch.tensor([[1.0, 4.0], [2.0, 2.0]])
    assert (rewards - leave_one_out_mean(rewards)).tolist() == [[-3.0, 3.0], [0.0, 0.0]]


def test_padding_and_the_order_of_prompts_change_nothing() -> None:
    logps, reference = random_logps()
    scores = torch.randn(5, 3, dtype=torch.float64)
    once = rloo_gradient(logps, reference, scores, BETA)
    wide = F.pad(logps, (0, 6)).detach().requires_grad_()
    padded = rloo_gradient(wide, F.pad(reference, (0, 6)), scores, BETA)
    torch.testing.assert_close(padded[..., :4], once)
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = logps.detach()[order].requires_grad_()
    torch.testing.assert_close(rloo_gradient(moved, reference[order], scores[order], BETA), once[order])


def test_the_optimum_is_the_reference_tilted_by_the_score() -> None:
    """Plain gradient steps with RLOO's expected gradient end at ref * exp(score / beta)."""
    logits = LOGITS.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logps = F.log_softmax(logits, dim=0)
        rewards = penalised_rewards(logps[:, None, None], REFERENCE[:, None, None], SCORES[:, None], BETA)
        advantages = rewards[:, 0] - (logps.detach().exp() * rewards[:, 0]).sum()
        (logits.grad,) = torch.autograd.grad(-(logps.detach().exp() * advantages * logps).sum(), logits)
        return -(logps.exp() * (SCORES - BETA * (logps - REFERENCE))).sum()

    optimizer.step(closure)
    found = F.log_softmax(logits.detach(), dim=0)
    torch.testing.assert_close(found, F.log_softmax(REFERENCE + SCORES / BETA, dim=0), atol=1e-4, rtol=0)


def test_equal_scores_are_no_preference() -> None:
    logps, reference = (torch.randn(1, 2, dtype=torch.float64) for _ in range(2))
    leaf = logps.requires_grad_()
    method = make_online_dpo(TrainConfig(method="online_dpo", **CONFIG))
    found = method(Batch(samples=samples_of(leaf, reference, torch.ones(1, 2, dtype=torch.float64))))
    assert (found.metrics["loss"], found.metrics["objective/told_apart"]) == (0.0, 0.0)
    (gradient,) = torch.autograd.grad(found.loss, leaf)
    assert gradient.abs().max() == 0


def test_scores_are_divided_limited_and_penalised_in_this_order() -> None:
    pair = TokenPair(0, [5, 2, 6], [7, 2], [8, 2])  # the prompt's own end token ends no answer
    cut, ended, empty = Response([4, 4], False, []), Response([4, 2], True, []), Response([2], True, [])

    def score(_of: Sequence[TokenPair], responses: Sequence[Response]) -> list[float]:
        return [10.0 * len(response.ids) for response in responses]

    cpu = torch.device("cpu")
    assert Scoring(score)([pair], [cut, ended, empty], cpu).tolist() == [[20.0, 20.0, 10.0]]
    scoring = Scoring(score, std=5.0, clip=3.0, missing_eos_penalty=1.5)
    assert scoring([pair], [cut, ended, empty], cpu).tolist() == [[1.5, 3.0, 2.0]]
    config = TrainConfig(method="rloo", reward="length", normalize_reward=True)
    assert Scoring.of(config, score, std=4.0) == Scoring(score, std=4.0)
    plain = config.model_copy(update={"normalize_reward": False})
    assert Scoring.of(plain, score, std=4.0) == Scoring(score)


@pytest.mark.parametrize("method", ["rloo", "online_dpo"])
def test_a_step_starts_at_the_reference(tiny: Callable[[str], Path], method: str) -> None:
    """KL 0, and the reward is the score less beta times the KL; the policy is moved to see that."""
    pairs = [TokenPair(0, [5, 2, 7], [8, 2], [9, 2]), TokenPair(1, [11], [12, 2], [2])]
    config = TrainConfig(method=method, reward="length", num_generations=3, beta=0.2)
    policy = load_policy(config, str(tiny("llama")), pad_id=0, device=torch.device("cpu"))
    objective = make_objective(
        config,
        max_new_tokens=6,
        stop_ids=frozenset({2}),
        score=lambda _of, responses: [math.sin(sum(r.ids)) for r in responses],
    )
    for moved in (False, True):
        if moved:
            with torch.no_grad():
                for parameter in policy.parameters():
                    parameter += 0.1 * torch.randn_like(parameter)
        found = objective(
            policy, pairs, step=3, reference=None, pair_indices=range(2), watch=lambda: None
        ).metrics
        kl, scores = found["objective/kl"], found["objective/scores"]
        assert (abs(kl) > 0.01) == moved
        assert kl == pytest.approx(0.0, abs=1e-5) or moved
        assert found["objective/rlhf_reward"] == pytest.approx(scores - 0.2 * kl, abs=1e-6)
        assert found["objective/non_score_reward"] == pytest.approx(-0.2 * kl, abs=1e-6)
        assert found["objective/entropy"] > 0
        assert 0 <= found["val/num_eos_tokens"] <= 3


@pytest.mark.parametrize("method", ["rloo", "online_dpo"])
def test_what_a_scored_method_needs(method: str) -> None:
    assert "needs one: length, regex:PATTERN" in field_errors({"method": method})["reward"]
    found = field_errors({"method": method, "reward": "length", "num_generations": 1})
    assert "must be 2 or more" in found["num_generations"]
    assert field_errors({"method": method, "reward": "run:3"}) == {}
