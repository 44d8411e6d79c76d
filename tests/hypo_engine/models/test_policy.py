import gc
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hypo_engine.config import Precision, TrainConfig
from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.models.adapters import attach_lora, check_adapter
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.prompts.separate import SeparateSequences
from hypo_engine.prompts.shared import SharedPrefix
from hypo_engine.training.optimizer import make_optimizer
from tests.tiny_model import ARCHITECTURES

CPU = torch.device("cpu")
PROMPTS = [[5, 90, 33, 7], [60, 61]]
ROWS, COMPLETIONS = [0, 0, 1], [[44, 45, 46], [70], [80, 81]]


@pytest.fixture
def policy_of(tiny: Callable[[str], Path]) -> Callable[..., Policy]:
    def load(architecture: str = "llama", *, plain: bool = False, **changes: Any) -> Policy:
        config = TrainConfig(model_name_or_path="x", lora_r=4).model_copy(update=changes)
        return load_policy(config, str(tiny(architecture)), pad_id=0, device=CPU, separate=plain)

    return load


def nudge(policy: Policy) -> None:
    with torch.no_grad():
        for index, parameter in enumerate(policy.parameters()):
            parameter.add_(0.02 * math.cos(index))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lora_r", [4, 0])
def test_the_reference_is_where_the_policy_began(
    policy_of: Callable[..., Policy], architecture: str, lora_r: int
) -> None:
    policy = policy_of(architecture, lora_r=lora_r)
    with torch.no_grad():
        start = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).values
        nudge(policy)
        moved = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).values
        with policy.reference() as encode:
            reference = encode(PROMPTS).score(ROWS, COMPLETIONS).values
        again = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).values
    if lora_r:
        assert torch.equal(reference, start)
    else:  # a second copy in memory may round differently
        torch.testing.assert_close(reference, start, atol=1e-6, rtol=1e-6)
    assert (moved - start).abs().max() > 1e-3
    assert torch.equal(again, moved)  # the adapter is enabled again


def test_a_fresh_adapter_depends_on_the_seed_alone(policy_of: Callable[..., Policy]) -> None:
    before = torch.get_rng_state()
    a, b, c = (policy_of(seed=seed).parameters() for seed in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert any(not torch.equal(x, y) for x, y in zip(a, c, strict=True))
    assert torch.equal(torch.get_rng_state(), before)  # the global state is unchanged


def test_only_the_adapter_is_trained_and_never_the_head(policy_of: Callable[..., Policy]) -> None:
    for architecture in ARCHITECTURES:
        policy = policy_of(architecture)
        names = [name for name, p in policy.model.named_parameters() if p.requires_grad]
        assert names
        assert all("lora_" in name for name in names)
        assert not any("lm_head" in name or "embed_out" in name or "embed_tokens" in name for name in names)


def test_a_half_precision_base_has_a_float32_adapter(policy_of: Callable[..., Policy]) -> None:
    policy = policy_of(precision=Precision.BFLOAT16)
    assert {p.dtype for p in policy.parameters()} == {torch.float32}
    assert policy.model.get_input_embeddings().weight.dtype == torch.bfloat16
    found = policy.encode(PROMPTS).score(ROWS, COMPLETIONS)
    assert found.values.dtype == torch.float32


def test_full_fine_tuning_in_half_precision_keeps_float32_weights(policy_of: Callable[..., Policy]) -> None:
    """Guards against pure bfloat16 weights, which do not move at a learning rate of 1e-6."""
    policy = policy_of(precision=Precision.BFLOAT16, lora_r=0)
    before = [p.detach().clone() for p in policy.parameters()]
    assert {p.dtype for p in before} == {torch.float32}
    optimizer = make_optimizer(policy.parameters(), learning_rate=1e-6, weight_decay=0.0)
    policy.encode(PROMPTS).score(ROWS, COMPLETIONS).sums().mean().backward()
    optimizer.step()
    moved = [(p - q).abs().max().item() for p, q in zip(policy.parameters(), before, strict=True)]
    assert max(moved) == pytest.approx(1e-6, rel=0.2)
    assert all(torch.equal(q.bfloat16(), (q + 1e-6).bfloat16()) for q in before if q.abs().min() > 0.01)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("lora_r", [4, 0])
def test_gradient_checkpointing_changes_no_gradient(
    policy_of: Callable[..., Policy], lora_r: int, plain: bool
) -> None:
    gradients = []
    for checkpointing in (False, True):
        policy = policy_of(gradient_checkpointing=checkpointing, lora_r=lora_r, plain=plain)
        nudge(policy)
        encoded = policy.encode(PROMPTS)
        assert isinstance(encoded, SeparateSequences) is plain
        encoded.decoding([0, 1], 2).feed(torch.tensor([3, 4]))  # sampling works as well
        encoded.score(ROWS, COMPLETIONS).sums().mean().backward()
        assert not policy.model.training
        gradients.append([p.grad for p in policy.parameters()])
    for kept, again in zip(*gradients, strict=True):
        assert kept.abs().max() > 0
        torch.testing.assert_close(kept, again, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_batch_that_is_given_up_is_freed(policy_of: Callable[..., Policy], checkpointing: bool) -> None:
    """Guards against a reference cycle of graph and prefix, which would keep memory after an OOM."""
    policy = policy_of(gradient_checkpointing=checkpointing)
    encoded = policy.encode(PROMPTS)
    loss = encoded.score(ROWS, COMPLETIONS).sums().mean()
    assert isinstance(encoded, SharedPrefix)
    prefix = weakref.ref(encoded._keys)
    del encoded, loss
    gc.collect()
    assert prefix() is None


def test_evaluation_mode_comes_back(policy_of: Callable[..., Policy]) -> None:
    policy = policy_of(gradient_checkpointing=True)
    with pytest.raises(IndexError):
        policy.encode([[10**6]]).score([0], [[1, 2]])
    assert not any(module.training for module in policy.model.modules())


@pytest.mark.parametrize("lora_r", [4, 0])
def test_gradient_checkpointing_keeps_less_and_runs_layers_again(
    policy_of: Callable[..., Policy], lora_r: int
) -> None:
    kept, runs = [], []
    for checkpointing in (False, True):
        policy = policy_of(gradient_checkpointing=checkpointing, lora_r=lora_r)
        saved, calls = dict[int, int](), [0]
        layer = next(m for m in policy.model.modules() if type(m).__name__ == "LlamaMLP")
        layer.register_forward_pre_hook(lambda *_, calls=calls: calls.__setitem__(0, calls[0] + 1))

        def keep(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        weights = {p.untyped_storage().data_ptr() for p in policy.model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).sums().mean()
        before = calls[0]
        loss.backward()
        kept.append(sum(size for place, size in saved.items() if place not in weights))
        runs.append(calls[0] - before)
    assert runs == [0, 1]
    assert kept[1] < kept[0] / 2


def test_named_modules(policy_of: Callable[..., Policy]) -> None:
    policy = policy_of(lora_target_modules="q_proj, v_proj")
    names = {
        name.split(".lora_")[0].rpartition(".")[2]
        for name, p in policy.model.named_parameters()
        if p.requires_grad
    }
    assert names == {"q_proj", "v_proj"}


@pytest.mark.parametrize("names", ["lm_head", "q_proj,embed_tokens", "nothing_like_it"])
def test_modules_that_cannot_be_adapted(policy_of: Callable[..., Policy], names: str) -> None:
    with pytest.raises(ConfigError, match="lora_target_modules"):
        policy_of(lora_target_modules=names)


def test_a_model_with_an_adapter_gets_no_second(policy_of: Callable[..., Policy]) -> None:
    with pytest.raises(ModelError, match="already carries an adapter"):
        attach_lora(policy_of().model, rank=2, alpha=2, target_modules="all-linear", seed=0, base_name="x")


def test_weight_decay_falls_on_matrices_only(policy_of: Callable[..., Policy]) -> None:
    groups = make_optimizer(policy_of(lora_r=0).parameters(), learning_rate=1, weight_decay=0.1).param_groups
    assert all(p.dim() > 1 for p in groups[0]["params"])
    assert all(p.dim() == 1 for p in groups[1]["params"])
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


def test_what_is_no_adapter_is_refused(policy_of: Callable[..., Policy], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        check_adapter(policy_of().model, tmp_path)
