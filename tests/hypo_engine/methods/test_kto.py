"""KTO: its loss by hand, which answers are mismatched, and rows with one answer."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hypo_engine.config import Method, TrainConfig
from hypo_engine.data.token_pairs import TokenPairs
from hypo_engine.methods.batch import Batch, PairLogps
from hypo_engine.methods.kto import make_kto
from hypo_engine.methods.mismatch import mismatched_answers
from hypo_engine.methods.objective import make_objective
from hypo_engine.models.policy import Policy, load_policy
from tests.hypo_engine.methods.test_methods import PAIRS, agree

SINGLE = [PAIRS[0], replace(PAIRS[1], chosen=[]), replace(PAIRS[2], rejected=[]), PAIRS[3]]
"""A pair, a thumbs-down, a thumbs-up and a pair."""
CONFIG: dict[str, Any] = {"method": "kto", "desirable_weight": 1.5, "undesirable_weight": 0.5, "beta": 0.3}


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_the_loss_by_hand() -> None:
    """A pair and a row without a chosen answer; weights of rows are 1 and 2, and z0 is 0.4."""
    pairs = PairLogps(
        torch.tensor([-10.0, 0.0]),
        torch.tensor([-8.0, -6.0]),
        torch.tensor([-11.0, 0.0]),
        torch.tensor([-7.0, -4.0]),
        torch.tensor([3, 0]),
        torch.tensor([2, 2]),
        mean_tokens=1.0,
        weights=torch.tensor([2 / 3, 4 / 3]),
        answers=(2 / 3 * 2 + 4 / 3 * 1) / 2,
    )
    found = make_kto(TrainConfig(**CONFIG))(Batch(pairs, mismatched=0.4))
    good = 1.5 * (1 - sigmoid(0.3 * (1 - 0.4)))
    bad = 0.5 * (1 - sigmoid(0.3 * (0.4 + 1))), 0.5 * (1 - sigmoid(0.3 * (0.4 + 2)))
    assert found.metrics["loss"] == pytest.approx((good + bad[0] + 2 * bad[1]) / (1 + 1 + 2), rel=1e-6)
    assert found.metrics["kl"] == 0.4
    assert found.metrics["rewards/chosen"] == pytest.approx(0.3)
    assert found.metrics["rewards/rejected"] == pytest.approx(0.3 * -1.5)
    assert found.metrics["rewards/margins"] == pytest.approx(0.3 * 2)
    assert found.counts["logps/rejected"] == 2
    assert found.counts["rewards/accuracies"] == 1


def test_an_answer_stands_under_the_prompt_after_it() -> None:
    a, b, c, d = SINGLE
    assert mismatched_answers(SINGLE) == [
        [d.rejected, d.chosen],
        [a.rejected],
        [a.chosen],
        [c.chosen, b.rejected],
    ]
    same = [replace(pair, prompt=[7]) for pair in SINGLE]
    assert mismatched_answers(same) == [[], [], [], []]


@pytest.fixture(scope="module")
def policy(tiny: Callable[[str], Path]) -> Policy:
    """Every weight of a tiny model, moved a little from its reference."""
    config = TrainConfig(lora_r=0)
    policy = load_policy(config, str(tiny("llama")), pad_id=0, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return policy


def test_micro_batches_and_missing_answers(policy: Policy) -> None:
    """Batches add up to the step; a row's answers count alike in one row and in a row each."""
    objective = make_objective(TrainConfig(lora_r=0, **CONFIG), max_new_tokens=4, stop_ids=frozenset({2}))

    def result(pairs: Any, step: Any) -> Any:
        found = objective(
            policy, pairs, step=0, reference=None, pair_indices=range(len(pairs)), watch=lambda: None,
            means=TokenPairs(step).means(range(len(step))), mismatched=0.7,
        )  # fmt: skip
        return found, torch.autograd.grad(found.loss, policy.parameters())

    whole, gradient = result(SINGLE, SINGLE)
    parts = [result([pair], SINGLE) for pair in SINGLE]
    agree([sum(values) / 4 for values in zip(*(part[1] for part in parts), strict=True)], gradient)
    apart = [replace(SINGLE[0], rejected=[]), replace(SINGLE[0], chosen=[]), *SINGLE[1:3]]
    apart += [replace(SINGLE[3], rejected=[]), replace(SINGLE[3], chosen=[])]
    one, same = result(apart, apart)
    assert one.metrics["loss"] == pytest.approx(whole.metrics["loss"], rel=1e-5)
    assert one.metrics["logps/chosen"] == pytest.approx(whole.metrics["logps/chosen"], rel=1e-5)
    assert "rewards/margins" not in one.metrics
    agree(same, gradient)


def test_what_a_row_needs() -> None:
    uses = {method: (method.uses(True, False), method.uses(False, True)) for method in Method}
    assert uses[Method.KTO] == uses[Method.RLOO] == (True, True)
    assert uses[Method.SFT] == (True, False)
    assert uses[Method.DPO] == uses[Method.HYPO] == uses[Method.REWARD] == (False, False)


def test_a_step_of_one_pair_has_no_other_prompt() -> None:
    with pytest.raises(ValueError, match="2 or more for KTO"):
        TrainConfig(method="kto", per_device_train_batch_size=1)
    TrainConfig(method="kto", per_device_train_batch_size=1, gradient_accumulation_steps=2)
