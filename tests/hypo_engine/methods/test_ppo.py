"""PPO: exact gradients on three arms, advantages computed by hand, and updates on kept samples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.config import TrainConfig, field_errors
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Response
from hypo_engine.methods.advantages import Advantages, gae, token_rewards, whiten
from hypo_engine.methods.batch import Batch, MethodLoss, Replay
from hypo_engine.methods.objective import Objective, make_objective
from hypo_engine.methods.ppo import make_ppo, policy_losses, value_losses
from hypo_engine.methods.rollouts import Experience
from hypo_engine.models.policy import Policy, load_policy
from tests.hypo_engine.methods.test_online import BETA, LOGITS, REFERENCE, SCORES, estimates
from tests.hypo_engine.test_estimators import standard_errors

PAIRS = [
    TokenPair(0, [5, 2, 7], [8, 2], [9, 2]),
    TokenPair(1, [11], [12, 2], [2]),
    TokenPair(2, [6, 7, 8, 9], [2], [3, 2]),
]
PLAIN = {"whiten_advantages": False, "reward": "length", "beta": BETA}


def ppo(**fields: object) -> TrainConfig:
    return TrainConfig.model_validate({"method": "ppo", **PLAIN, **fields})


def replay_of(
    logps: Tensor, reference: Tensor, scores: Tensor, mask: Tensor, advantages: Advantages, value: float = 0.0
) -> Replay:
    """The first update on samples with constant values."""
    old, values = logps.detach(), torch.full_like(logps, value).detach() * mask
    found, returns = advantages(old, reference, values, scores, mask)
    return Replay(logps, old, values, values, found, returns, mask, float(mask.sum() / len(mask)))


@pytest.mark.parametrize("k", [1, 2])
def test_the_first_updates_gradient_is_that_of_score_less_kl(k: int) -> None:
    """The baseline is a number that does not depend on the arm."""
    config = ppo()

    def first_update(batch: Batch) -> MethodLoss:
        samples = batch.samples
        assert samples is not None
        assert samples.scores is not None
        logps, reference = samples.logps.view(-1, 1), samples.reference_logps.view(-1, 1)
        mask = torch.ones_like(logps, dtype=torch.bool)
        scores, advantages = samples.scores.flatten(), Advantages.of(config)
        return make_ppo(config)(
            Batch(replay=replay_of(logps, reference, scores, mask, advantages, value=0.3))
        )

    logits = LOGITS.clone().requires_grad_()
    logps = F.log_softmax(logits, dim=0)
    value = (logps.exp() * (SCORES - BETA * (logps - REFERENCE))).sum()
    (exact,) = torch.autograd.grad(-value, logits)
    found = estimates(first_update, k=k)
    assert standard_errors(found, exact[:2]) < 3
    assert standard_errors(found, torch.zeros(2, dtype=torch.float64)) > 50


def test_advantages_computed_by_hand() -> None:
    """One answer of three tokens, one of two with padding, and one of the end token only."""
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.5, -1.0, 0.0], [2.0, 0.0, 0.0]])
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.6, 0.0], [0.5, 0.0, 0.0]])
    found = gae(rewards, values, gamma=1.0, lam=0.95)
    expected = [[0.82675, 0.765, 0.7], [0.7 - 0.95 * 1.6, -1.6, 0.0], [1.5, 0.0, 0.0]]
    torch.testing.assert_close(found, torch.tensor(expected))
    to_go = torch.tensor([[0.9, 0.8, 0.7], [-0.9, -1.6, 0.0], [1.5, 0.0, 0.0]])
    torch.testing.assert_close(gae(rewards, values, gamma=1.0, lam=1.0), to_go)
    found = gae(rewards[:1], values[:1], gamma=0.9, lam=0.5)
    last, middle = 0.7, 0.9 * 0.3 - 0.2 + 0.45 * 0.7
    torch.testing.assert_close(found, torch.tensor([[0.9 * 0.2 - 0.1 + 0.45 * middle, middle, last]]))


def test_the_score_is_added_at_the_last_token() -> None:
    logps = torch.tensor([[-1.0, -2.0, -1.5], [-0.5, 0.0, 0.0]])
    reference = torch.tensor([[-1.5, -2.0, -1.0], [-0.25, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    found = token_rewards(logps, reference, torch.tensor([4.0, 5.0]), mask, 0.2)
    torch.testing.assert_close(found, torch.tensor([[-0.1, 0.0, 4.1], [5.05, 0.0, 0.0]]))


def test_whitening_leaves_out_padding_and_is_used_where_it_is_set() -> None:
    values = torch.tensor([[1.0, 2.0, 6.0], [3.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    tokens = values[mask]
    for keep in (False, True):
        found = whiten(values, mask, keep_mean=keep)
        expected = (tokens - 3.0) / tokens.std() + (3.0 if keep else 0.0)
        torch.testing.assert_close(found[mask], expected)
        assert found[~mask].tolist() == [0.0, 0.0]
    assert whiten(values, torch.tensor([[True, False, False], [False] * 3])).abs().max() == 0
    logps, scores = torch.zeros(2, 3), torch.tensor([4.0, -1.0])
    plain, by_reward, by_advantage = (
        Advantages.of(ppo(**fields))(logps, logps, 0.1 * mask, scores, mask)
        for fields in ({}, {"whiten_rewards": True}, {"whiten_advantages": True})
    )
    torch.testing.assert_close(by_advantage[0], whiten(plain[0], mask))
    torch.testing.assert_close(by_advantage[1], plain[1])  # values learn what happened, not its scale
    rewards = whiten(token_rewards(logps, logps, scores, mask, BETA), mask, keep_mean=True)
    torch.testing.assert_close(by_reward[0], gae(rewards, 0.1 * mask, gamma=1.0, lam=0.95))


def random_samples() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logps, reference = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor([4, 2, 1, 3, 4])[:, None]
    scores = torch.randn(5, generator=generator, dtype=torch.float64)
    return (logps * mask).requires_grad_(), reference * mask, scores, mask


def test_scores_and_beta_scale_the_policys_gradient_together() -> None:
    logps, reference, scores, mask = random_samples()

    def gradient(scale: float, **fields: object) -> Tensor:
        advantages = Advantages.of(ppo(beta=scale * BETA, **fields))
        replay = replay_of(logps, reference, scale * scores, mask, advantages)
        loss = replay.mean(policy_losses(replay, 0.2)[0])
        (found,) = torch.autograd.grad(loss, logps)
        return found

    torch.testing.assert_close(gradient(3.0), 3 * gradient(1.0))
    whitened = gradient(3.0, whiten_advantages=True)
    torch.testing.assert_close(whitened, gradient(1.0, whiten_advantages=True), rtol=1e-6, atol=1e-8)


def test_padding_and_the_order_of_samples_change_nothing() -> None:
    logps, reference, scores, mask = random_samples()
    advantages = Advantages.of(ppo(whiten_rewards=True, whiten_advantages=True))
    once = replay_of(logps, reference, scores, mask, advantages)
    wide = replay_of(F.pad(logps, (0, 3)), F.pad(reference, (0, 3)), scores, F.pad(mask, (0, 3)), advantages)
    torch.testing.assert_close(wide.advantages[:, :4], once.advantages)
    padded, plain = (make_ppo(ppo())(Batch(replay=replay)).metrics for replay in (wide, once))
    assert padded == pytest.approx(plain, abs=1e-12)
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = replay_of(logps[order], reference[order], scores[order], mask[order], advantages)
    torch.testing.assert_close(moved.advantages, once.advantages[order])


def test_a_limit_stops_gains_and_not_losses() -> None:
    """Three tokens whose ratio is 1.5, with a gain, a loss and nothing at stake, and one within the limit."""
    old = torch.zeros(4, 1)
    logps = torch.tensor([[1.5], [1.5], [1.5], [1.1]]).log().requires_grad_()
    gains = torch.tensor([[2.0], [-2.0], [0.0], [1.0]])
    mask = torch.ones(4, 1, dtype=torch.bool)
    replay = Replay(logps, old, old, old, gains, old, mask, 1.0)
    losses, limited = policy_losses(replay, 0.2)
    torch.testing.assert_close(losses.detach()[:, 0], torch.tensor([-2.4, 3.0, 0.0, -1.1]))
    assert limited[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    (found,) = torch.autograd.grad(losses.sum(), logps)
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 3.0, 0.0, -1.1]))
    metrics = make_ppo(ppo())(Batch(replay=replay)).metrics
    assert metrics["policy/clipfrac_avg"] == 0.25
    assert metrics["val/ratio"] == pytest.approx((1.5 * 3 + 1.1) / 4)
    assert metrics["policy/approxkl_avg"] == pytest.approx((3 * math.log(1.5) ** 2 + math.log(1.1) ** 2) / 8)


def test_a_values_limit_takes_the_larger_error() -> None:
    """Towards the return beyond the limit, away from it, and within the limit."""
    values = torch.tensor([[0.8], [-0.8], [0.1]]).requires_grad_()
    old, returns = torch.zeros(3, 1), torch.ones(3, 1)
    replay = Replay(old, old, values, old, old, returns, torch.ones(3, 1, dtype=torch.bool), 1.0)
    losses, limited = value_losses(replay, 0.2)
    torch.testing.assert_close(losses.detach()[:, 0], torch.tensor([0.32, 1.62, 0.405]))
    assert limited[:, 0].tolist() == [1.0, 0.0, 0.0]
    found = make_ppo(ppo(vf_coef=0.5))(Batch(replay=replay))
    assert found.metrics["loss/value_avg"] == pytest.approx((0.32 + 1.62 + 0.405) / 3)
    assert found.metrics["loss"] == pytest.approx(0.5 * found.metrics["loss/value_avg"])
    assert found.metrics["val/clipfrac_avg"] == pytest.approx(1 / 3)


def score(_of: Sequence[TokenPair], responses: Sequence[Response]) -> list[float]:
    return [math.sin(sum(response.ids)) for response in responses]


def loaded(folder: Path, config: TrainConfig, *, separate: bool = False) -> tuple[Policy, Objective]:
    cpu = torch.device("cpu")
    policy = load_policy(config, str(folder), pad_id=0, device=cpu, separate=separate)
    objective = make_objective(config, max_new_tokens=6, stop_ids=frozenset({2}), score=score)
    return policy, objective


def drawn(policy: Policy, objective: Objective, step: int = 3) -> tuple[list[Experience], dict[str, float]]:
    assert objective.rollouts is not None
    found = objective.rollouts.draw(policy, PAIRS, step=step, watch=lambda: None)
    return objective.rollouts.judge(found.rollouts), found.metrics


def mean_tokens(kept: Sequence[Experience]) -> float:
    return sum(len(one.advantages) for one in kept) / len(kept)


def move(policy: Policy) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(
    ("lora_r", "separate"), [(4, False), (0, False), (4, True)], ids=["lora", "full", "separate"]
)
def test_a_step_starts_at_ratio_one_and_the_reference(
    tiny: Callable[[str], Path], lora_r: int, *, separate: bool
) -> None:
    config = ppo(beta=0.2, num_generations=2, lora_r=lora_r)
    policy, objective = loaded(tiny("llama"), config, separate=separate)
    assert objective.rollouts is not None
    for moved in (False, True):
        if moved:
            move(policy)
        kept, metrics = drawn(policy, objective)
        kl, scores = metrics["objective/kl"], metrics["objective/scores"]
        assert (abs(kl) > 0.01) == moved
        assert kl == pytest.approx(0.0, abs=1e-5) or moved
        assert metrics["objective/rlhf_reward"] == pytest.approx(scores - 0.2 * kl, abs=1e-6)
        assert metrics["loss"] == -metrics["objective/rlhf_reward"]
        replay = objective.rollouts.replay(policy, PAIRS, kept, step=3, mean_tokens=4.0)
        assert torch.equal(replay.logps, replay.old_logps)
        assert torch.equal(replay.values, replay.old_values)
        assert (replay.values.abs().max() > 0) == moved  # a new head's values are 0
    move(policy)
    replay = objective.rollouts.replay(policy, PAIRS, kept, step=3, mean_tokens=4.0)
    assert not torch.equal(replay.logps, replay.old_logps)


def test_values_are_read_before_each_token(tiny: Callable[[str], Path]) -> None:
    """Against the hidden states of transformers' own model on each sequence alone."""
    config = ppo(lora_r=0, num_generations=2)
    policy, objective = loaded(tiny("llama"), config)
    plain, _ = loaded(tiny("llama"), config)
    assert policy.value_head is not None
    with torch.no_grad():
        policy.value_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    kept, _ = drawn(policy, objective)
    for place, one in enumerate(kept):
        prompt, ids = PAIRS[place // 2].prompt, one.rollout.sample.response.ids
        output = plain.model(input_ids=torch.tensor([prompt + ids]), output_hidden_states=True)
        states = output.hidden_states[-1][0, len(prompt) - 1 : -1]
        expected = F.linear(states, policy.value_head.weight)[:, 0]
        torch.testing.assert_close(one.rollout.values, expected, rtol=1e-4, atol=1e-4)


def test_micro_batches_and_their_order_change_nothing(tiny: Callable[[str], Path]) -> None:
    policy, objective = loaded(tiny("llama"), ppo(num_generations=2, lora_r=4, whiten_advantages=True))
    move(policy)
    kept, _ = drawn(policy, objective)
    move(policy)

    def gradient(*batches: list[int]) -> tuple[float, list[Tensor]]:
        loss = torch.zeros(())
        for batch in batches:
            some = [one for i in batch for one in kept[2 * i : 2 * i + 2]]
            pairs = [PAIRS[i] for i in batch]
            found = objective.replayed(policy, pairs, some, step=3, mean_tokens=mean_tokens(kept))
            loss = loss + found.loss * len(batch) / 3
        return float(loss.detach()), list(torch.autograd.grad(loss, policy.parameters()))

    loss, whole = gradient([0, 1, 2])
    for parts in ([[2, 0], [1]], [[1], [2], [0]]):
        found, gradients = gradient(*parts)
        assert found == pytest.approx(loss, rel=1e-5)
        for one, other in zip(gradients, whole, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_critic_warms_up_alone(tiny: Callable[[str], Path]) -> None:
    policy, objective = loaded(tiny("llama"), ppo(lora_r=4, critic_warmup=2))
    for step, trains_all in ((1, False), (2, True)):
        kept, _ = drawn(policy, objective, step)
        found = objective.replayed(policy, PAIRS, kept, step=step, mean_tokens=mean_tokens(kept))
        gradients = torch.autograd.grad(found.loss, policy.parameters(), allow_unused=True)
        assert gradients[-1] is not None
        assert gradients[-1].abs().max() > 0
        assert all((gradient is not None) == trains_all for gradient in gradients[:-1])
        assert found.metrics["val/ratio"] == pytest.approx(1.0, abs=1e-6)


def test_a_cut_answer_and_one_of_the_end_token_only() -> None:
    """A cut answer ends where it was cut: nothing follows its score. Both have one value a token."""
    policy_logps, mask = torch.zeros(2, 3), torch.tensor([[True, True, True], [True, False, False]])
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.0, 0.0]])
    advantages = Advantages.of(ppo(lam=1.0))
    found, returns = advantages(policy_logps, policy_logps, values, torch.tensor([1.0, 2.0]), mask)
    torch.testing.assert_close(returns, torch.tensor([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0]]))
    torch.testing.assert_close(found, (returns - values) * mask)


def test_what_ppo_needs() -> None:
    assert "PPO needs one: length" in field_errors({"method": "ppo"})["reward"]
    assert field_errors({"method": "ppo", "reward": "length", "num_generations": 1}) == {}
    found = field_errors({"method": "ppo", "reward": "length", "sharding": "fsdp"})
    assert found["sharding"].endswith("cannot shard PPO's value head yet; set it to none.")
    assert replace(make_ppo(ppo()), vf_coef=0.5) == make_ppo(ppo(vf_coef=0.5))
    found = field_errors({"method": "ppo", "reward": "length", "max_steps": 2})
    assert "must be more than critic_warmup, 2" in found["max_steps"]
