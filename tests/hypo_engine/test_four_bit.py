"""Runs on 4-bit weights (QLoRA), with bitsandbytes' own kernels on the CPU."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig

from hypo_engine.config import TrainConfig, field_errors
from hypo_engine.data.formats import Pair
from hypo_engine.errors import CheckpointError, ConfigError, ModelError
from hypo_engine.export_model import Job, export_model
from hypo_engine.forward.four_bit import is_four_bit, weight_of
from hypo_engine.generate import load_served
from hypo_engine.models.adapters import quiet_peft
from hypo_engine.models.load import load_frozen
from hypo_engine.models.policy import load_policy
from hypo_engine.pair_scores import PairScore, load_pair_scorer
from hypo_engine.reporting import Wish
from hypo_engine.token_scores import ScoreRequest, score_texts
from hypo_engine.training.checkpoint import CLASSIFIER_FOLDER
from tests.hypo_engine.conftest import Recorder, Run, computed
from tests.tiny_model import write_tiny_model

CPU = torch.device("cpu")
PROMPTS = [[5, 90, 33, 7], [60, 61]]
ROWS, COMPLETIONS = [0, 0, 1], [[44, 45, 46], [70], [80, 81]]
Make = Callable[..., TrainConfig]


@pytest.fixture
def four_bit(config: Make) -> Make:
    """The configuration of a run on 4-bit weights."""

    def make(**changes: Any) -> TrainConfig:
        return config(**{"load_in_4bit": True, "method": "dpo", "seed": 5, "learning_rate": 3e-2} | changes)

    return make


@pytest.mark.parametrize("method", ["dpo", "hypo"])
def test_a_run_starts_at_the_reference_and_learns(four_bit: Make, run: Run, method: str) -> None:
    recorder, _ = run(four_bit(method=method, max_steps=8, learning_rate=1e-2))
    first = recorder.values[0]
    assert first["eval_loss"] == pytest.approx(math.log(2), abs=1e-7)
    assert first["eval_objective/kl"] == 0
    assert recorder.values[8]["eval_loss"] < 0.8 * math.log(2)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "ppo", "reward": "length"},
        {"method": "kto"},
        {"gradient_checkpointing": True},
        {"lora_target_modules": "q_proj,down_proj"},
    ],
    ids=["ppo", "kto", "checkpointing", "few modules"],
)
def test_other_runs(four_bit: Make, run: Run, changes: dict[str, Any]) -> None:
    recorder, _ = run(four_bit(**changes))
    assert recorder.values[0]["eval_objective/kl"] == 0
    assert recorder.values[3]["eval_objective/kl"] != 0


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt_neox", "gemma2", "llama_untied"])
def test_only_linear_layers_are_packed_and_the_reference_is_where_the_policy_began(
    four_bit: Make, tiny: Callable[[str], Path], architecture: str
) -> None:
    policy = load_policy(four_bit(), str(tiny(architecture)), pad_id=0, device=CPU)
    packed = [layer for layer in policy.model.modules() if is_four_bit(layer)]
    assert len(packed) == (8 if architecture == "gpt_neox" else 14)
    dtype = policy.model.get_input_embeddings().weight.dtype
    for layer in packed:
        assert layer.weight.dtype == torch.uint8
        assert 2 * layer.weight.numel() == layer.in_features * layer.out_features
        assert layer.bias is None or layer.bias.dtype == dtype
    others = [p for p in policy.model.parameters() if p.dtype != torch.uint8 and not p.requires_grad]
    assert {p.dtype for p in others} == {dtype}
    assert policy.model.get_output_embeddings().weight.dtype == dtype
    assert all(p.dtype == torch.float32 for p in policy.parameters())
    with torch.no_grad():
        start = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).values
        for index, parameter in enumerate(policy.parameters()):
            parameter.add_(0.02 * math.cos(index))
        moved = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).values
        with policy.reference() as encode:
            reference = encode(PROMPTS).score(ROWS, COMPLETIONS).values
    assert torch.equal(reference, start)
    assert (moved - start).abs().max() > 1e-3


@pytest.mark.exact
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_gradients_are_those_of_the_expanded_weights(
    four_bit: Make, tiny: Callable[[str], Path], tmp_path: Path, architecture: str
) -> None:
    """Against a float32 model whose weights are those that 4 bits hold."""
    frozen = load_frozen(str(tiny(architecture)), precision=four_bit().precision, device=CPU, in_4bit=True)
    expanded = AutoModelForCausalLM.from_pretrained(tiny(architecture))
    with torch.no_grad():
        for name, layer in frozen.named_modules():
            if is_four_bit(layer):
                expanded.get_submodule(name).weight.copy_(weight_of(layer))
    copytree(tiny(architecture), tmp_path / "model")
    expanded.save_pretrained(tmp_path / "model")
    found = {}
    for name, config, place in (
        ("4 bit", four_bit(), tiny(architecture)),
        ("float32", four_bit(load_in_4bit=False), tmp_path / "model"),
    ):
        policy = load_policy(config, str(place), pad_id=0, device=CPU)
        with torch.no_grad():
            for index, parameter in enumerate(policy.parameters()):
                parameter.add_(0.02 * math.cos(index))
        policy.encode(PROMPTS).score(ROWS, COMPLETIONS).sums().sum().backward()
        found[name] = [parameter.grad for parameter in policy.parameters()]
    for ours, expected in zip(found["4 bit"], found["float32"], strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_a_resumed_run_equals_the_straight_run(four_bit: Make, run: Run, tmp_path: Path) -> None:
    config = four_bit(method="hypo", max_steps=4, eval_steps=2)
    straight, last = run(config, "straight")
    stopping = Recorder(lambda r: Wish.YIELD if r.phases[-1][0] >= 2 else Wish.CONTINUE)
    with pytest.raises(Exception, match="stopped on request"):
        run(config, "parts", stopping)
    resumed, again = run(config, "parts")
    assert (again / "adapter" / "adapter_model.safetensors").read_bytes() == (
        last / "adapter" / "adapter_model.safetensors"
    ).read_bytes()
    assert computed(resumed)[4] == computed(straight)[4]
    caches = len(list((tmp_path / "cache").glob("reference-*.safetensors")))
    with pytest.raises(
        CheckpointError, match=r"made with load_in_4bit True.*this run has load_in_4bit False"
    ):
        run(four_bit(method="hypo", max_steps=4, eval_steps=2, load_in_4bit=False), "parts")
    run(four_bit(method="hypo", max_steps=4, eval_steps=2, load_in_4bit=False), "plain")
    assert len(list((tmp_path / "cache").glob("reference-*.safetensors"))) == 2 * caches


def scores(config: TrainConfig, checkpoint: Path, pairs: list[Pair]) -> list[PairScore]:
    found = load_pair_scorer(config, checkpoint, checkpoint).score(pairs)
    assert all(isinstance(one, PairScore) for one in found)
    return [one for one in found if isinstance(one, PairScore)]


@pytest.mark.exact
def test_transformers_and_peft_compute_the_same(four_bit: Make, run: Run, pairs: list[Pair]) -> None:
    """The adapter on a base that transformers quantised, as the file beside the adapter says."""
    config = four_bit()
    _, checkpoint = run(config)
    said = json.loads((checkpoint / "adapter" / "quantization.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(
        config.model_name_or_path,
        quantization_config=BitsAndBytesConfig(**said, bnb_4bit_compute_dtype=torch.float32),
        dtype=torch.float32,
        device_map="cpu",
    )
    for layer in base.modules():
        if is_four_bit(layer):
            layer.support_avx512bf16_for_cpu = False
    with quiet_peft():
        model = PeftModel.from_pretrained(base, checkpoint / "adapter").eval()
    scorer = load_pair_scorer(config, checkpoint, checkpoint)
    [score] = scorer.score(pairs[:1])
    assert isinstance(score, PairScore)
    [prompt] = [scorer.tokenization.prompt_ids(pairs[0].prompt)]
    end = scorer.tokenization.end_id(pairs[0].prompt)
    answer = scorer.tokenization.completion_ids(pairs[0].chosen, end_id=end)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    logp = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()
    assert float(logp) == pytest.approx(score.chosen, abs=1e-3)


@pytest.mark.exact
def test_answers_are_scored_as_in_training(
    four_bit: Make, run: Run, pairs: list[Pair], tmp_path: Path
) -> None:
    config = four_bit()
    checkpoints = {"one": run(config, "one")[1], "two": run(four_bit(method="hypo"), "two")[1]}
    served = load_served(config.model_name_or_path, tmp_path, config.precision, in_4bit=True)
    for name, checkpoint in checkpoints.items():
        served.add_adapter(name, checkpoint / "adapter")
    plain = load_served(config.model_name_or_path, tmp_path, config.precision)
    plain.add_adapter("one", checkpoints["one"] / "adapter")
    pair = pairs[1]
    for name, checkpoint in checkpoints.items():
        [expected] = scores(config, checkpoint, [pair])
        [found, other] = score_texts(
            served,
            [ScoreRequest(pair.prompt, pair.chosen, name), ScoreRequest(pair.prompt, pair.chosen, None)],
        )
        assert found.policy_logp == pytest.approx(expected.chosen, abs=2e-3)
        assert found.reference_logp == pytest.approx(expected.reference_chosen, abs=2e-3)
        assert other.policy_logp == pytest.approx(expected.reference_chosen, abs=2e-3)
    [off] = score_texts(plain, [ScoreRequest(pair.prompt, pair.chosen, "one")])
    assert abs(off.policy_logp - scores(config, checkpoints["one"], [pair])[0].chosen) > 0.05  # type: ignore[operator]
    served.remove_adapter("one")
    served.remove_adapter("two")
    [alone] = score_texts(served, [ScoreRequest(pair.prompt, pair.chosen, None)])
    assert alone.policy_logp == other.policy_logp


def job(config: TrainConfig, checkpoint: Path, pairs: list[Pair], output: Path) -> Job:
    return Job(
        config=config.model_dump(mode="json"),
        checkpoint=str(checkpoint),
        base=None,
        base_adapters=[],
        pairs=[asdict(pair) for pair in pairs[:3]],
        output=str(output),
        gguf=False,
        name="A run",
        models_dir=str(output.parent),
    )


@pytest.mark.exact
def test_a_merged_model_is_the_runs_own(four_bit: Make, run: Run, pairs: list[Pair], tmp_path: Path) -> None:
    """So is one of a run that started from such a run, in 4 bits or not."""
    config = four_bit()
    _, checkpoint = run(config)
    made = job(config, checkpoint, pairs, tmp_path / "merged")
    assert export_model(made).difference < 1e-4
    assert export_model(replace(made, gguf=True, output=str(tmp_path / "gguf"))).difference < 1e-4
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(config.model_name_or_path)
    with quiet_peft():
        other = PeftModel.from_pretrained(base, checkpoint / "adapter")
    ids = torch.tensor([[5, 9, 200, 17]])
    with torch.no_grad():  # the adapter on the unquantised base is another model
        assert (merged(ids).logits - other(ids).logits).abs().max() > 0.05
    for in_4bit in (True, False):
        second = four_bit(model_name_or_path=str(checkpoint / "adapter"), load_in_4bit=in_4bit)
        recorder, last = run(second, f"second {in_4bit}")
        assert recorder.values[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-7)
        if not in_4bit:
            expected = scores(config, checkpoint, pairs[:2])
            started = scores(second, last, pairs[:2])
            assert [one.reference_chosen for one in started] == pytest.approx(
                [one.chosen for one in expected], abs=1e-3
            )
        assert export_model(job(second, last, pairs, tmp_path / f"out {in_4bit}")).difference < 1e-4


@pytest.mark.exact
@pytest.mark.parametrize("modules", ["all-linear", "q_proj,down_proj"])
def test_a_reward_model_is_exported_as_it_was_trained(
    four_bit: Make, run: Run, pairs: list[Pair], modules: str
) -> None:
    config = four_bit(method="reward", lora_target_modules=modules)
    _, checkpoint = run(config)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint / CLASSIFIER_FOLDER)
    scorer = load_pair_scorer(config, checkpoint, checkpoint)
    [score] = scorer.score(pairs[1:2])
    assert isinstance(score, PairScore)
    end = scorer.tokenization.end_id(pairs[1].prompt)
    prompt = scorer.tokenization.prompt_ids(pairs[1].prompt)
    ids = [*prompt, *scorer.tokenization.completion_ids(pairs[1].chosen, end_id=end)]
    with torch.no_grad():
        assert float(model(input_ids=torch.tensor([ids])).logits) == pytest.approx(score.chosen, abs=1e-3)


def test_a_model_stored_in_bfloat16(four_bit: Make, run: Run, tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    recorder, _ = run(four_bit(model_name_or_path=str(folder)))
    assert recorder.values[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-7)


@pytest.mark.parametrize(
    ("values", "field", "problem"),
    [
        ({"lora_r": 0}, "load_in_4bit", "needs lora_r of 1 or more, because 4-bit weights cannot be trained"),
        ({"sharding": "fsdp", "method": "dpo"}, "sharding", "cannot shard 4-bit weights yet; set it to none"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], field: str, problem: str) -> None:
    assert problem in field_errors({"load_in_4bit": True} | values)[field]


def test_a_model_without_plain_linear_layers_is_refused(
    four_bit: Make, run: Run, tiny: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError, match=r"gpt2.*no linear layer that 4 bits can hold; set load_in_4bit"):
        run(four_bit(model_name_or_path=str(tiny("gpt2"))))


def test_without_bitsandbytes_the_sentence_names_the_remedy(
    four_bit: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"^load_in_4bit needs the package bitsandbytes; run pip install"):
        run(four_bit())


def test_damaged_weights_are_refused(four_bit: Make, run: Run, tmp_path: Path) -> None:
    """4 bits have no NaN, which would hide it."""
    folder = write_tiny_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name][3, 5] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"not finite \\({name}\\)"):
        run(four_bit(model_name_or_path=str(folder)))


def test_bitsandbytes_fetches_no_kernel(tmp_path: Path) -> None:
    """On processors with AVX-512 for bfloat16 it would download one and run it, if `kernels` is installed."""
    (tmp_path / "kernels.py").write_text("raise SystemExit('imported')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import hypo_engine.models.load
import bitsandbytes
from bitsandbytes.functional import has_avx512bf16
try:
    import kernels
except ImportError:
    print("blocked")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("blocked\n", "")
