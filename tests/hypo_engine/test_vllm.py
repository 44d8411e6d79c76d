"""Samples from vLLM itself, on tiny models on the CPU. Its kernels there want heads of 32 numbers or more."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from hypo_engine.config import TrainConfig
from hypo_engine.decoding.vllm_engine import VllmEngine
from hypo_engine.errors import CheckpointError, Interrupted, ModelError
from hypo_engine.forward.packed import base_model
from hypo_engine.models.merged_weights import weights_as_in_files
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.reporting import Wish
from hypo_engine.training.vllm import make_rollout
from tests.hypo_engine.conftest import Recorder, Run, computed
from tests.tiny_model import write_tiny_model

pytestmark = [
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.timeout(600),  # torch compiles a part of its sampler once
]

GAP = "sampling/sampling_logp_difference/mean"
PROMPTS = [[5, 90, 33, 7], [60, 61], [200, 3, 4, 100, 101]]
SIZES = {
    "llama": {"head_dim": 32},
    "llama_untied": {"head_dim": 32},
    "qwen2": {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1},
    "qwen3": {"head_dim": 32},
    "gemma2": {"head_dim": 32},
    "gpt2": {"n_embd": 64, "n_head": 2},
}
Make = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def fitting(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model whose heads are large enough."""
    root = tmp_path_factory.mktemp("models")

    def folder(architecture: str) -> Path:
        path = root / architecture
        if not path.exists():
            write_tiny_model(path, architecture=architecture, **SIZES[architecture])
        return path

    return folder


@pytest.fixture
def sampled(config: Make, fitting: Callable[[str], Path]) -> Make:
    """The configuration of a run that samples with vLLM, with large steps."""

    def make(architecture: str = "llama", **changes: Any) -> TrainConfig:
        usual = {"method": "hypo", "rollout": "vllm", "max_steps": 4, "learning_rate": 5e-2}
        return config(**usual | {"model_name_or_path": str(fitting(architecture))} | changes)

    return make


def gaps(recorder: Recorder) -> list[float]:
    """The difference between vLLM's log-probabilities and those of training, by step."""
    return [values[GAP] for _, values in sorted(recorder.values.items()) if GAP in values]


@pytest.mark.exact
@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("llama", {}),
        ("llama", {"temperature": 0.7, "gradient_accumulation_steps": 2}),
        ("llama", {"lora_r": 0, "learning_rate": 1e-2}),
        ("llama_untied", {"lora_r": 0, "learning_rate": 1e-2}),
        ("llama", {"load_in_4bit": True}),
        ("qwen2", {}),
        ("qwen3", {"method": "rloo", "reward": "length"}),
        ("gemma2", {"method": "online_dpo", "reward": "length"}),
        ("gpt2", {"method": "ppo", "reward": "length", "critic_warmup": 0, "learning_rate": 1e-2}),
    ],
    ids=[
        "lora", "temperature", "full", "full untied", "4 bit", "bias", "rloo", "online dpo", "ppo"
    ],
)  # fmt: skip
def test_vllm_samples_from_the_policy_of_every_step(
    sampled: Make, run: Run, architecture: str, changes: dict[str, Any]
) -> None:
    recorder, _ = run(sampled(architecture, **changes))
    found = gaps(recorder)
    assert len(found) == 4
    assert max(found) < 5e-6
    assert abs(recorder.values[4]["objective/kl"]) > 0.01  # the policy has moved


@pytest.mark.exact
def test_the_gap_shows_weights_that_are_not_handed_over(
    sampled: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, calls = VllmEngine.take, list[int]()

    def once(self: VllmEngine, weights: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            take(self, weights)

    monkeypatch.setattr(VllmEngine, "take", once)
    first, *later = gaps(run(sampled())[0])
    assert first < 5e-6
    assert min(later) > 0.01
    assert len(calls) == 4


def test_bfloat16_weights_are_handed_over_rounded(sampled: Make, run: Run) -> None:
    found = gaps(run(sampled(precision="bfloat16"))[0])
    assert min(found) > 0
    assert max(found) < 0.05


@pytest.mark.exact
def test_evaluations_are_those_of_a_run_that_samples_by_itself(sampled: Make, run: Run) -> None:
    (own, _), (vllm, _) = (run(sampled(rollout=rollout), rollout) for rollout in ("engine", "vllm"))
    assert computed(own)[0] == computed(vllm)[0]
    assert [row.text for row in own.rows if row.step == 0 and row.kind != "train"] == [
        row.text for row in vllm.rows if row.step == 0 and row.kind != "train"
    ]


@pytest.mark.parametrize("method", ["hypo", "ppo"])
def test_a_resumed_run_equals_the_straight_run(sampled: Make, run: Run, method: str) -> None:
    config = sampled(method=method, reward="length", save_steps=1)
    _, straight = run(config, "straight")

    def at_two(recorder: Recorder) -> Wish:
        return Wish.YIELD if recorder.phases and recorder.phases[-1][0] == 2 else Wish.CONTINUE

    with pytest.raises(Interrupted):
        run(config, "resumed", Recorder(at_two))
    recorder, resumed = run(config, "resumed")
    assert any("Continuing from step 2" in message for message in recorder.messages)
    name = Path("adapter/adapter_model.safetensors")
    assert (straight / name).read_bytes() == (resumed / name).read_bytes()
    with pytest.raises(CheckpointError, match="rollout"):
        run(config.model_copy(update={"rollout": "engine", "max_steps": 5}), "resumed")


def test_the_process_is_as_before(sampled: Make, run: Run) -> None:
    torch.set_num_threads(2)
    before = _process()
    run(sampled(max_steps=1))
    assert _process() == before
    torch.set_num_threads(1)


def _process() -> list[Any]:
    own = {name: value for name, value in os.environ.items() if "INDUCTOR" not in name}
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    replaced = [torch.set_num_threads, torch.accelerator.synchronize, torch.accelerator.empty_cache]
    random_states = [random.getstate(), torch.get_rng_state().tolist()]
    grouped = torch.distributed.is_initialized()
    return [own, handlers, replaced, random_states, grouped, torch.get_num_threads()]


def test_a_model_that_vllm_cannot_compute_is_refused_in_a_sentence(
    config: Make, run: Run, tiny: Callable[[str], Path]
) -> None:
    small = config(method="hypo", rollout="vllm")  # its heads have 8 numbers
    recorder = Recorder()
    with pytest.raises(ModelError, match=r"vLLM stopped with an error \(RuntimeError: .* Set rollout to"):
        run(small, recorder=recorder)
    assert recorder.values == {}
    assert not torch.distributed.is_initialized()


@pytest.fixture
def policy(sampled: Make) -> Policy:
    """A policy that differs from its base model."""
    found = load_policy(sampled(), sampled().model_name_or_path, pad_id=0, device=torch.device("cpu"))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.copy_(torch.linspace(-0.2, 0.2, parameter.numel()).view_as(parameter))
    return found


@pytest.fixture
def engine(sampled: Make, policy: Policy) -> Iterator[VllmEngine]:
    """vLLM with the weights of the policy."""
    rollout = make_rollout(sampled(), policy)
    assert rollout is not None
    found = rollout.start()
    found.take(weights_as_in_files(base_model(policy.model)))
    yield found
    found.close()


def sample(engine: VllmEngine, prompts: list[list[int]], seeds: list[int], **changes: Any) -> list[Any]:
    """Responses of up to ten tokens."""
    usual: dict[str, Any] = {
        "temperature": 1.0, "max_new_tokens": 10, "stop_ids": frozenset({2}), "watch": lambda: None
    }  # fmt: skip
    return engine.sample(prompts, seeds=seeds, **usual | changes)


def test_responses(engine: VllmEngine, policy: Policy) -> None:
    found = sample(engine, PROMPTS, [1, 2, 3])
    assert [len(response.ids) for response in found] == [len(response.logps) for response in found]
    assert sample(engine, [PROMPTS[2]], [3])[0].ids == found[2].ids  # whatever is in the batch
    assert sample(engine, PROMPTS, [4, 5, 6]) != found
    ended = sample(engine, PROMPTS, [1, 2, 3], stop_ids=frozenset(range(384)))
    assert [(len(response.ids), response.finished) for response in ended] == [(1, True)] * 3
    cut = sample(engine, PROMPTS, [1, 2, 3], stop_ids=frozenset())
    assert [(len(response.ids), response.finished) for response in cut] == [(10, False)] * 3
    warm = sample(engine, PROMPTS, [1, 2, 3], temperature=2.0)
    with torch.no_grad():
        expected = policy.encode(PROMPTS).score(range(3), [response.ids for response in warm], 2.0).values
    for row, response in zip(expected, warm, strict=True):
        assert row[: len(response.ids)].tolist() == pytest.approx(response.logps, abs=0.2)


@pytest.mark.exact
def test_samples_have_the_policys_distribution(engine: VllmEngine, policy: Policy) -> None:
    """The mean log-probability of samples is minus the entropy."""
    count = 600
    found = sample(engine, [PROMPTS[0]] * count, list(range(count)), max_new_tokens=1)
    with torch.no_grad():
        tokens = [[token] for token in range(384)]
        logps = policy.encode([PROMPTS[0]]).score([0] * len(tokens), tokens).values[:, 0].double()
    mean = (logps.exp() * logps).sum()
    deviation = ((logps.exp() * logps.square()).sum() - mean**2).sqrt() / count**0.5
    drawn = sum(response.logps[0] for response in found) / count
    assert abs(drawn - float(mean)) < 4 * float(deviation)


def test_a_watch_that_raises_abandons_the_samples(engine: VllmEngine) -> None:
    before, calls = sample(engine, PROMPTS, [1, 2, 3]), list[int]()

    def watch() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted(Wish.CANCEL)

    with pytest.raises(Interrupted):
        sample(engine, PROMPTS, [1, 2, 3], watch=watch)
    assert len(calls) == 3
    assert sample(engine, PROMPTS, [1, 2, 3]) == before


def test_weights_that_do_not_arrive_end_the_run(
    sampled: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM may have half of them then, so the step is not tried again with fewer pairs."""

    def full(self: VllmEngine, weights: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(VllmEngine, "take", full)
    with pytest.raises(
        ModelError, match=r"could not be handed to vLLM \(MemoryError: no room\); set rollout"
    ):
        run(sampled())


def test_missing_weights_are_refused(engine: VllmEngine, policy: Policy) -> None:
    weights = dict(weights_as_in_files(base_model(policy.model)))
    del weights["model.norm.weight"]
    with pytest.raises(ModelError, match=r"does not have \(model\.norm\.weight\); set rollout to engine"):
        engine.take(weights.items())


def test_an_unknown_architecture_is_refused(policy: Policy, sampled: Make) -> None:
    base = base_model(policy.model)
    base.__class__ = type("NobodysForCausalLM", (type(base),), {})
    rollout = make_rollout(sampled(), policy)
    assert rollout is not None
    with pytest.raises(ModelError, match="vLLM does not know the architecture NobodysForCausalLM; set roll"):
        rollout.start()
