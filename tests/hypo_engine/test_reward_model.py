"""Reward models: the loss, the head, training, and the exported classifier."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hypo_engine.config import TrainConfig, field_errors
from hypo_engine.data.formats import Pair
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.methods.objective import make_objective
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.training.loop import TrainResult, train
from tests.hypo_engine.conftest import Recorder

MakeConfig = Callable[..., TrainConfig]
END = 2
PAIRS = [
    TokenPair(0, [5, END, 7], [8, 9, END], [END]),  # a prompt with an end token, an answer that is only one
    TokenPair(1, [11], [12, 13, 14, 15, END], [18, 19, END]),
]


def load(config: TrainConfig, *, separate: bool = False) -> Policy:
    cpu = torch.device("cpu")
    return load_policy(config, config.model_name_or_path, pad_id=0, device=cpu, separate=separate)


def loss_of(policy: Policy, config: TrainConfig, pairs: Sequence[TokenPair] = PAIRS) -> Any:
    objective = make_objective(config, max_new_tokens=4, stop_ids=frozenset({END}))
    places = range(len(pairs))
    return objective(policy, pairs, step=0, reference=None, pair_indices=places, watch=lambda: None)


def rewards(policy: Policy, sequences: list[tuple[list[int], list[int]]]) -> Tensor:
    encoded = policy.encode([prompt for prompt, _ in sequences])
    return policy.rewards(encoded, range(len(sequences)), [answer for _, answer in sequences])


def test_a_zero_head_starts_at_ln_two_and_a_new_one_near_it(config: MakeConfig) -> None:
    chosen = config(method="reward")
    policy = load(chosen)
    assert policy.head is not None
    assert policy.head.weight.std().item() == pytest.approx(1 / math.sqrt(33), rel=0.4)
    assert 0 < abs(loss_of(policy, chosen).metrics["loss"] - math.log(2)) < 0.5
    with torch.no_grad():
        policy.head.weight.zero_()
    found = loss_of(policy, chosen).metrics
    assert found["loss"] == pytest.approx(math.log(2), abs=1e-7)
    assert (found["rewards/accuracies"], found["mean_reward"]) == (0.5, 0.0)


@pytest.mark.parametrize("separate", [False, True])
def test_the_reward_is_read_at_the_answers_end_token(config: MakeConfig, *, separate: bool) -> None:
    """Against the body of transformers' own model on each sequence alone."""
    policy = load(config(method="reward", lora_r=0), separate=separate)
    assert policy.head is not None
    answers = [(p.prompt, answer) for p in PAIRS for answer in (p.chosen, p.rejected)]
    found = rewards(policy, answers)
    plain = load(config(method="reward", lora_r=0)).model
    for reward, (prompt, answer) in zip(found.tolist(), answers, strict=True):
        output = plain(input_ids=torch.tensor([prompt + answer]), output_hidden_states=True)
        expected = F.linear(output.hidden_states[-1][0, -1], policy.head.weight)
        assert reward == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


@pytest.mark.exact
def test_loss_and_metrics_are_trls(config: MakeConfig) -> None:
    """RewardTrainer.compute_loss, written out, with centering."""
    chosen = config(method="reward", center_rewards_coefficient=0.3)
    policy = load(chosen)
    good = rewards(policy, [(p.prompt, p.chosen) for p in PAIRS])
    bad = rewards(policy, [(p.prompt, p.rejected) for p in PAIRS])
    expected = -F.logsigmoid(good - bad).mean() + 0.3 * torch.mean((good + bad) ** 2)
    found = loss_of(policy, chosen)
    assert found.metrics["loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert found.metrics["rewards/margins"] == pytest.approx((good - bad).mean().item(), abs=1e-5)
    assert found.metrics["rewards/accuracies"] == (good > bad).float().mean().item()
    both = torch.cat([good, bad])
    measured = [found.metrics[f"{name}_reward"] for name in ("min", "mean", "max")]
    assert measured == pytest.approx([both.min().item(), both.mean().item(), both.max().item()], abs=1e-5)
    ours = torch.autograd.grad(found.loss, policy.parameters())
    theirs = torch.autograd.grad(expected, policy.parameters())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_weights_and_margins_of_pairs(config: MakeConfig) -> None:
    """A weight of two is the pair twice; a margin is subtracted, and changes no metric but the loss."""
    chosen = config(method="reward")
    policy = load(chosen)
    twice = loss_of(policy, chosen, [*PAIRS, PAIRS[1]])
    weighed = loss_of(policy, chosen, [PAIRS[0], replace(PAIRS[1], weight=2.0)])
    assert weighed.metrics["loss"] == pytest.approx(twice.metrics["loss"], abs=1e-6)
    ours, theirs = (torch.autograd.grad(found.loss, policy.parameters()) for found in (weighed, twice))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    plain = loss_of(policy, chosen)
    margins = (0.5, 2.0)
    found = loss_of(policy, chosen, [replace(p, margin=m) for p, m in zip(PAIRS, margins, strict=True)])
    good = rewards(policy, [(p.prompt, p.chosen) for p in PAIRS])
    bad = rewards(policy, [(p.prompt, p.rejected) for p in PAIRS])
    expected = -F.logsigmoid(good - bad - torch.tensor(margins)).mean().item()
    assert found.metrics["loss"] == pytest.approx(expected, abs=1e-5)
    assert {**found.metrics, "loss": 0} == {**plain.metrics, "loss": 0}


@pytest.mark.exact
def test_a_linear_reward_is_recovered_from_its_labels(config: MakeConfig) -> None:
    """Bradley-Terry labels, in expectation, determine a reward that is linear in the last hidden state."""
    chosen = config(method="reward")
    policy = load(chosen)
    assert policy.head is not None
    head = policy.head.weight
    prompt, answers = [5, 6], [[*range(8 + k, 9 + 2 * k), END] for k in range(7)]
    sequences = [(prompt, answer) for answer in answers]
    with torch.no_grad():
        head.copy_(torch.randn(head.shape, generator=torch.Generator().manual_seed(0)))
        truth = rewards(policy, sequences)
        head.zero_()
    assert truth.std() > 0.5
    pairs = [
        TokenPair(0, prompt, good, bad, weight=torch.sigmoid(truth[i] - truth[j]).item())
        for i, good in enumerate(answers)
        for j, bad in enumerate(answers)
        if i != j
    ]
    optimizer = torch.optim.LBFGS([head], max_iter=300, tolerance_grad=1e-8, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = loss_of(policy, chosen, pairs).loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)
    found = rewards(policy, sequences).detach()
    torch.testing.assert_close(found - found.mean(), truth - truth.mean(), atol=0.01, rtol=0)


@pytest.fixture
def run(tmp_path: Path, pairs: list[Pair]) -> Callable[..., tuple[TrainResult, Recorder]]:
    def start(config: TrainConfig, name: str = "out") -> tuple[TrainResult, Recorder]:
        recorder = Recorder()
        result = train(
            config,
            pairs,
            eval_pairs=pairs[:3],
            eval_prompts=[pair.prompt for pair in pairs[:3]],
            output_dir=tmp_path / name,
            models_dir=tmp_path / "models",
            reporter=recorder,
        )
        return result, recorder

    return start


@pytest.mark.exact
@pytest.mark.parametrize("lora_r", [4, 0])
def test_a_reward_model_is_trained_resumed_and_loaded_by_transformers(
    run: Any, config: MakeConfig, pairs: list[Pair], lora_r: int
) -> None:
    settings = {"method": "reward", "lora_r": lora_r, "save_steps": 1, "max_steps": 4, "eval_prompts": 3}
    result, recorder = run(config(**settings))
    values = recorder.values
    assert values[4]["eval_loss"] < values[0]["eval_loss"]
    assert {"eval_rewards/margins_stderr", "eval_rewards/accuracies"} <= set(values[4])
    assert not recorder.rows  # a reward model writes nothing
    assert not any(phase.startswith("reference") for _, _, phase in recorder.phases)
    note = json.loads((result.model_dir / "reward.json").read_text())
    assert note["std"] not in (0, 1)
    assert any("own answers" in message for message in recorder.messages)

    first = (result.model_dir / "model.safetensors").read_bytes()
    rmtree(result.checkpoint_dir)
    again, _ = run(config(**settings))
    assert (again.model_dir / "model.safetensors").read_bytes() == first
    assert json.loads((again.model_dir / "reward.json").read_text()) == note

    model, told = AutoModelForSequenceClassification.from_pretrained(
        again.model_dir, output_loading_info=True
    )
    assert not told["missing_keys"]
    tokenizer = AutoTokenizer.from_pretrained(again.model_dir)
    assert model.config.num_labels == 1
    assert model.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    sequences = [p.prompt + answer for p in PAIRS for answer in (p.chosen, p.rejected)]
    batch = tokenizer.pad({"input_ids": sequences}, return_tensors="pt")
    alone = [model(input_ids=torch.tensor([ids])).logits.item() for ids in sequences]
    assert model(**batch).logits[:, 0].tolist() == pytest.approx(alone, abs=1e-5)
    policy = restored(config(**settings), again)
    mine = rewards(policy, [(p.prompt, answer) for p in PAIRS for answer in (p.chosen, p.rejected)])
    assert mine.tolist() == pytest.approx(alone, rel=1e-4, abs=1e-5)


def test_the_scale_is_measured_on_training_prompts_or_not_at_all(
    config: MakeConfig, pairs: list[Pair], tmp_path: Path
) -> None:
    for prompts in (3, 0):
        recorder = Recorder()
        chosen = config(method="reward", max_steps=1, eval_prompts=prompts, max_completion_length=20)
        folder = tmp_path / str(prompts)
        result = train(chosen, pairs, output_dir=folder, models_dir=tmp_path, reporter=recorder)
        assert result.model_dir is not None
        note = json.loads((result.model_dir / "reward.json").read_text())
        assert ((note["mean"], note["std"]) == (0.0, 1.0)) == (prompts == 0)
        assert any("set eval_prompts to 2 or more" in m for m in recorder.messages) == (prompts == 0)


def restored(config: TrainConfig, result: TrainResult) -> Policy:
    from hypo_engine.training.checkpoint import load_weights

    policy = load(config)
    load_weights(policy, result.checkpoint_dir)
    return policy


def test_a_reward_model_cannot_be_sharded() -> None:
    found = field_errors({"method": "reward", "sharding": "fsdp"})
    assert "cannot shard a reward model yet; set it to none" in found["sharding"]
