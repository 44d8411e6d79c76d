"""Every method on a tiny model: its loss and gradient against a formula on the whole model's logits."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from hypo_engine.config import Method, TrainConfig, applies
from hypo_engine.data.token_pairs import StepMeans, TokenPair, TokenPairs
from hypo_engine.methods.losses import bradley_terry_loss
from hypo_engine.methods.objective import METHODS, BatchResult, make_objective
from hypo_engine.models.policy import Policy, load_policy

CPU = torch.device("cpu")
PAIRS = [
    TokenPair(0, [5, 6, 7], [8, 9, 2], [10, 2]),
    TokenPair(1, [11], [12, 13, 14, 15, 16, 17, 2], [18, 19, 20, 2]),
    TokenPair(2, [5, 6, 7, 21], [2], [22, 23, 24, 25, 26, 2]),
    TokenPair(3, [27, 28], [29, 30, 2], [31, 32, 2]),
]


@pytest.fixture(scope="module")
def policy(tiny: Callable[[str], Path]) -> Policy:
    """Every weight of a tiny model, so that transformers' own forward is the comparison."""
    config = TrainConfig(lora_r=0)
    return load_policy(config, str(tiny("llama")), pad_id=0, device=CPU)


def result_of(
    policy: Policy, pairs: Sequence[TokenPair], *, means: StepMeans | None = None, **fields: Any
) -> Any:
    """The result of one batch and its gradient."""
    objective = make_objective(TrainConfig(lora_r=0, **fields), max_new_tokens=4, stop_ids=frozenset({2}))
    places = range(len(pairs))
    result: BatchResult = objective(
        policy,
        pairs,
        step=0,
        reference=None,
        pair_indices=places,
        watch=lambda: None,
        means=means,
    )
    return result, torch.autograd.grad(result.loss, policy.parameters())


def token_logps(model: Any, prompt: list[int], answer: list[int]) -> Tensor:
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(dim=-1)[range(len(answer)), answer]


def agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_every_method_is_in_every_table() -> None:
    assert set(METHODS) == set(Method)
    reads_kl_coef = [method for method in Method if applies("kl_coef", method)]
    assert reads_kl_coef == [Method.HYPO]
    assert applies("learning_rate", Method.SFT)
    assert not applies("beta", Method.SFT)


def test_sft_is_the_models_own_loss(policy: Policy, tiny: Callable[[str], Path]) -> None:
    """The mean over all tokens of the chosen answers, as transformers computes it from labels."""
    model = AutoModelForCausalLM.from_pretrained(tiny("llama"))
    longest = max(len(p.prompt) + len(p.chosen) for p in PAIRS)
    ids, labels = torch.zeros(4, longest, dtype=torch.long), torch.full((4, longest), -100)
    for row, pair in enumerate(PAIRS):
        whole = torch.tensor(pair.prompt + pair.chosen)
        ids[row, : len(whole)] = whole
        labels[row, len(pair.prompt) : len(whole)] = whole[len(pair.prompt) :]
    loss = model(input_ids=ids, labels=labels).loss
    found, gradient = result_of(policy, PAIRS, method="sft")
    assert found.metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    agree(gradient, torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (0.5, 3, 1, 7)])
@pytest.mark.parametrize("fields", [{"method": "sft"}, {"method": "dpo", "rpo_alpha": 2.0, "beta": 0.3}])
def test_micro_batches_and_their_order_change_nothing(
    policy: Policy, weights: Sequence[float], fields: dict[str, Any]
) -> None:
    pairs = [replace(pair, weight=weight) for pair, weight in zip(PAIRS, weights, strict=True)]
    means = TokenPairs(pairs).means(range(4))
    whole, gradient = result_of(policy, pairs, **fields)
    parts = [
        result_of(policy, part, means=means, **fields)
        for part in ([pairs[3]], [pairs[1], pairs[0]], [pairs[2]])
    ]
    (one, a), (two, b), (three, c) = parts
    agree([(x + 2 * y + z) / 4 for x, y, z in zip(a, b, c, strict=True)], gradient)
    loss = (one.metrics["loss"] + 2 * two.metrics["loss"] + three.metrics["loss"]) / 4
    assert loss == pytest.approx(whole.metrics["loss"], rel=1e-5)


WEIGHED = [
    {"method": "sft"},
    {"method": "dpo", "rpo_alpha": 2.0, "beta": 0.3},
    {"method": "dpo", "loss_type": "simpo"},
    {"method": "dpo", "label_smoothing": 0.1},
]


@pytest.mark.parametrize("fields", WEIGHED)
def test_a_pair_of_weight_two_is_that_pair_twice(policy: Policy, fields: dict[str, Any]) -> None:
    twice, gradient = result_of(policy, [*PAIRS, PAIRS[1]], **fields)
    weighed, ours = result_of(policy, [*PAIRS[:1], replace(PAIRS[1], weight=2.0), *PAIRS[2:]], **fields)
    assert weighed.metrics["loss"] == pytest.approx(twice.metrics["loss"], rel=1e-5)
    agree(ours, gradient)


@pytest.mark.parametrize("fields", WEIGHED[:2])
def test_equal_weights_change_no_bit(policy: Policy, fields: dict[str, Any]) -> None:
    plain, gradient = result_of(policy, PAIRS, **fields)
    weighed, ours = result_of(policy, [replace(pair, weight=0.7) for pair in PAIRS], **fields)
    assert weighed.metrics == plain.metrics
    assert all(torch.equal(a, b) for a, b in zip(ours, gradient, strict=True))


def test_simpo_agrees_with_trl(
    policy: Policy, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.cpo import CPOTrainer

    model = AutoModelForCausalLM.from_pretrained(tiny("llama"))
    chosen, rejected = (
        torch.stack([token_logps(model, p.prompt, getattr(p, side)).mean() for p in PAIRS])
        for side in ("chosen", "rejected")
    )
    trainer = SimpleNamespace(
        alpha=0.0,
        accelerator=SimpleNamespace(device=CPU),
        loss_type="simpo",
        simpo_gamma=1.3,
        beta=2.2,
        label_smoothing=0.0,
    )
    losses, chosen_rewards, rejected_rewards = CPOTrainer.cpo_loss(trainer, chosen, rejected)
    fields = {"method": "dpo", "loss_type": "simpo", "simpo_gamma": 1.3, "beta": 2.2}
    found, gradient = result_of(policy, PAIRS, **fields)
    assert found.metrics["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert found.metrics["rewards/chosen"] == pytest.approx(chosen_rewards.mean().item(), rel=1e-5)
    assert found.metrics["rewards/rejected"] == pytest.approx(rejected_rewards.mean().item(), rel=1e-5)
    agree(gradient, torch.autograd.grad(losses.mean(), list(model.parameters())))


def test_simpo_never_asks_the_reference(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "reference", lambda: pytest.fail("the reference was asked"))
    result_of(policy, PAIRS, method="dpo", loss_type="simpo")
    result_of(policy, PAIRS, method="sft")


def test_margins_agree_with_trls_reward_trainer() -> None:
    """`RewardTrainer.compute_loss` itself, on rewards that a stand-in for its model returns."""
    from trl import RewardTrainer

    chosen, rejected, margins = torch.tensor([[1.0, -0.5, 0.2], [0.4, 0.3, 0.2], [0.5, 0.0, 3.0]])
    rewards = torch.cat([chosen, rejected])[:, None]
    same = SimpleNamespace(gather=lambda values: values, gather_for_metrics=lambda values: values)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=0.3),
        accelerator=same,
        _total_train_tokens=0,
        _metrics={"eval": defaultdict(list)},
    )
    inputs = {"margin": margins}
    expected = RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=rewards), inputs)
    found = bradley_terry_loss(chosen, rejected, margins=margins, center=0.3)
    assert found.mean().item() == pytest.approx(expected.item(), rel=1e-6)
    by_hand = math.log1p(math.exp(-(1.0 - 0.4 - 0.5))) + 0.3 * (1.0 + 0.4) ** 2
    assert found[0].item() == pytest.approx(by_hand, rel=1e-6)
