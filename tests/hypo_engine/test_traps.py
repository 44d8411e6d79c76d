"""Known traps: a table of them, and the tests that are in no other file.

Each entry of :data:`GUARDS` names a trap and the tests that fail if the engine falls into it.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.decoding.sampling import uniforms
from hypo_engine.errors import ModelError
from hypo_engine.methods import sampler as sampler_module
from hypo_engine.methods.losses import reward_to_go_kl_loss, sequence_kl_loss
from hypo_engine.models.adapters import check_adapter
from hypo_engine.training.loop import TrainResult, train
from hypo_engine.training.plan import permutation
from tests.hypo_engine.conftest import Recorder

MakeConfig = Callable[..., TrainConfig]

GUARDS: dict[str, tuple[str, ...]] = {
    "prompt and answer are tokenised as one text": (
        "data.test_tokenize.test_prompt_and_completion_are_tokenised_apart_and_differences_counted",
    ),
    "the beginning token stands twice": ("data.test_tokenize.test_the_beginning_token_stands_once",),
    "the end token stands twice, or never": ("data.test_tokenize.test_the_end_token_stands_once",),
    "training and generation read a prompt otherwise": (
        "test_generate.test_without_a_template_a_question_is_answered_as_the_plain_prompt_trained_on",
    ),
    "truncation eats the answer or its end": (
        "data.test_tokenize.test_trimming_takes_the_left_of_the_prompt_and_is_counted",
        "data.test_tokenize.test_too_long_an_answer_is_left_out_and_counted",
    ),
    "dropout makes the reference random": (
        "models.test_load.test_dropout_is_off_even_in_training_mode",
        "models.test_load.test_functional_attention_dropout_is_off",
    ),
    "the reference goes another path, precision or padding": (
        "test_traps.test_step_zero_is_ln_two",
        "training.test_loop.test_step_zero_is_ln_two_and_nothing",
    ),
    "log-softmax in half precision": (
        "forward.test_logprobs.test_half_precision_logits_are_normalised_in_float32",
    ),
    "LoRA or the optimiser in half precision": (
        "models.test_policy.test_a_half_precision_base_has_a_float32_adapter",
        "test_traps.test_the_optimiser_state_is_float32",
    ),
    "pure bfloat16 weights do not move": (
        "models.test_policy.test_full_fine_tuning_in_half_precision_keeps_float32_weights",
    ),
    "position_ids are left out": ("test_judge.test_the_engine_agrees_with_the_judge",),
    "the base carries an adapter, and off is not the reference": (
        "models.test_load.test_a_model_that_carries_an_adapter_is_refused",
        "models.test_policy.test_a_model_with_an_adapter_gets_no_second",
    ),
    "checkpointing cuts the graph where inputs have no gradient": (
        "models.test_policy.test_gradient_checkpointing_changes_no_gradient",
        "test_judge.test_the_engine_agrees_with_the_judge",
    ),
    "LoRA on a head whose matrix is used as it is": (
        "models.test_policy.test_modules_that_cannot_be_adapted",
        "models.test_policy.test_only_the_adapter_is_trained_and_never_the_head",
    ),
    "modules_to_save of an adapter are left out": (
        "test_traps.test_an_adapter_with_modules_to_save_is_refused",
    ),
    "tied embeddings come apart, or get half their gradient": (
        "test_traps.test_tied_embeddings_stay_tied",
        "test_judge.test_the_engine_agrees_with_the_judge",
    ),
    "accumulation weighs micro-batches instead of pairs": (
        "test_traps.test_the_accumulated_gradient_is_the_gradient",
    ),
    "decoding and training differ, and nobody sees it": (
        "test_traps.test_the_gap_between_decoding_and_training_is_measured",
    ),
    "the order of the data, or a sample, has a state": ("test_traps.test_order_and_samples_have_no_state",),
    "a resumed run draws or steps otherwise": (
        "training.test_loop.test_stopping_and_going_on_is_the_straight_run_bit_for_bit",
    ),
    "half a checkpoint is left behind": (
        "training.test_checkpoint.test_a_failed_save_leaves_the_one_before",
    ),
    "mean(log pi - log ref) is back-propagated": (
        "test_estimators.test_language_model_naive_gradient_is_nothing",
        "test_estimators.test_language_model_gradient_is_unbiased",
    ),
    "a token is weighed with its own ratio alone": (
        "test_estimators.test_a_per_token_product_drops_the_cross_terms",
        "test_estimators.test_language_model_gradient_is_unbiased",
    ),
    "ratios are clamped, or divided by the length": (
        "test_traps.test_ratios_are_neither_clamped_nor_divided",
    ),
    "generation_config leaks into the sampler": (
        "decoding.test_sampling.test_generation_config_does_not_leak_in",
    ),
    "the end token is dropped, or what follows it is scored": (
        "decoding.test_sampling.test_the_end_token_is_kept_and_nothing_follows_it",
        "test_judge.test_the_engine_agrees_with_the_judge",
    ),
    "a response that was cut is given an end": (
        "decoding.test_sampling.test_a_response_cut_by_the_limit_has_no_end",
    ),
    "a temperature scales the policy alone": (
        "test_judge.test_the_engine_agrees_with_the_judge",
        "test_estimators.test_steps_of_training_are_unbiased",
    ),
    "an evaluation reports another loss than is trained": (
        "test_traps.test_evaluations_report_the_loss_that_is_trained",
    ),
}


def test_every_guard_exists() -> None:
    folder = Path(__file__).parent
    for name in {name for names in GUARDS.values() for name in names}:
        file, _, function = name.rpartition(".")
        path = folder / f"{file.replace('.', '/')}.py"
        assert f"\ndef {function}(" in path.read_text(encoding="utf-8"), name


@pytest.fixture
def uneven() -> list[Pair]:
    """Sixteen pairs, short and long."""
    return [
        Pair("Where is Paris? " * (1 + 5 * (i % 3)), "In France. " * (1 + i % 4), f"No {i}. " * (1 + i % 3))
        for i in range(16)
    ]


@pytest.fixture
def run(tmp_path: Path, uneven: list[Pair]) -> Callable[..., tuple[TrainResult, Recorder]]:
    """Train on the uneven pairs."""

    def start(config: TrainConfig, name: str = "out", **changes: Any) -> tuple[TrainResult, Recorder]:
        recorder = Recorder()
        result = train(
            config,
            changes.get("pairs", uneven),
            eval_pairs=changes.get("eval_pairs", uneven[:2]),
            eval_prompts=["Where?", "Where is the quick brown fox?"],
            output_dir=tmp_path / name,
            models_dir=tmp_path / "models",
            reporter=recorder,
        )
        return result, recorder

    return start


HALF, AGAIN = {"precision": "bfloat16"}, {"gradient_checkpointing": True}


@pytest.mark.parametrize(
    ("method", "architecture", "cached", "changes"),
    [
        ("dpo", "llama", True, HALF),
        ("hypo", "llama", False, HALF),
        ("hypo", "gpt2", True, HALF),
        ("dpo", "qwen2", True, HALF | AGAIN),
        ("hypo", "qwen2", False, HALF | AGAIN),
        ("hypo", "gpt_neox", False, AGAIN),
        ("hypo", "gemma2", True, {"lora_r": 0}),
    ],
)
def test_step_zero_is_ln_two(
    run: Any, config: MakeConfig, tiny: Any, method: str, architecture: str, cached: bool, changes: Any
) -> None:
    """Policy and reference take the same path, also with padding, half precision and checkpointing."""
    settings = {
        "method": method,
        "max_steps": 1,
        "precompute_ref_log_probs": cached,
        "max_prompt_length": 200,
    }
    settings |= {"model_name_or_path": str(tiny(architecture)), "max_completion_length": 40}
    _, recorder = run(config(**settings, **changes))
    first = recorder.values[1]
    assert first["loss/dpo"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["rewards/chosen"] == pytest.approx(0.0, abs=2e-6)
    assert first["rewards/rejected"] == pytest.approx(0.0, abs=2e-6)
    assert recorder.values[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)
    if method == "hypo":
        assert first["objective/kl"] == pytest.approx(0.0, abs=2e-5)


def optimizer_state(result: TrainResult) -> dict[str, Tensor]:
    state = torch.load(result.checkpoint_dir / "optimizer.pt", weights_only=True)["state"]
    return {f"{index} {name}": value for index, values in state.items() for name, value in values.items()}


@pytest.mark.parametrize("lora_r", [4, 0])
def test_the_optimiser_state_is_float32(run: Any, config: MakeConfig, lora_r: int) -> None:
    result, _ = run(config(method="dpo", precision="bfloat16", lora_r=lora_r, max_steps=1))
    moments = [value for name, value in optimizer_state(result).items() if "exp_avg" in name]
    assert len(moments) > 20
    assert {value.dtype for value in moments} == {torch.float32}


@pytest.mark.parametrize("method", ["dpo", "hypo"])
def test_the_accumulated_gradient_is_the_gradient(
    run: Any, config: MakeConfig, uneven: list[Pair], method: str
) -> None:
    """1 x 10 = 10 x 1 = 4 + 4 + 2, read from the optimiser's first moment after one step."""
    found = []
    for batch, accumulation in ((10, 1), (1, 10), (4, 3)):
        settings = {"max_steps": 1, "max_grad_norm": 1e6, "eval_prompts": 0}
        settings |= {"kl_coef": 0.01, "max_completion_length": 60}  # all ten are kept
        result, recorder = run(
            config(
                method=method,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=accumulation,
                **settings,
            ),
            name=f"{batch}",
            pairs=uneven[:10],
        )
        found.append((recorder.values[1], optimizer_state(result)))
    (values, state), *others = found
    for other_values, other_state in others:
        assert other_values["num_tokens"] == values["num_tokens"]  # the same ten pairs
        for name in ("loss", "loss/dpo", "grad_norm", "logps/chosen"):
            assert other_values[name] == pytest.approx(values[name], rel=1e-5), name
        for name, moment in state.items():
            if name.endswith("exp_avg"):
                error = (other_state[name] - moment).norm()
                assert error <= 1e-5 * moment.norm(), name


@pytest.mark.exact
def test_the_gap_between_decoding_and_training_is_measured(
    run: Any, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metric shows exactly how far a decoder deviates from the training pass."""
    sample = sampler_module.sample_responses

    def astray(*arguments: Any, **named: Any) -> list[Any]:
        return [
            replace(response, logps=[logp + (-0.25) ** at for at, logp in enumerate(response.logps)])
            for response in sample(*arguments, **named)
        ]

    settings = {"method": "hypo", "max_steps": 1, "max_completion_length": 100}
    _, honest = run(config(**settings), name="honest")
    assert honest.values[1]["sampling/sampling_logp_difference/mean"] < 1e-5
    monkeypatch.setattr(sampler_module, "sample_responses", astray)
    _, found = run(config(**settings), name="astray")
    tokens = [row.tokens for row in found.rows if row.kind == "online"]
    expected = sum(0.25**at for count in tokens for at in range(count)) / sum(tokens)
    gap = found.values[1]["sampling/sampling_logp_difference/mean"]
    assert gap == pytest.approx(expected, rel=1e-2)


def test_order_and_samples_have_no_state() -> None:
    """An epoch's order and a sample's random numbers neither depend on the global generator nor change it."""
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            permutation.cache_clear()
            found.append((permutation(3, 1, 50), uniforms([7, 8], 20).tolist()))
            assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


@pytest.mark.parametrize("loss", [sequence_kl_loss, reward_to_go_kl_loss])
def test_ratios_are_neither_clamped_nor_divided(loss: Any) -> None:
    """A response's ratio of a thousand nats has its full weight, for any length and padding."""
    logps = torch.full((1, 2, 60), 0.0, dtype=torch.float64, requires_grad=True)
    reference = torch.zeros(1, 2, 60, dtype=torch.float64)
    reference[0, 0, 49], reference[0, 1, 0] = -1000.0, -600.0  # lengths 50 and 1
    (gradient,) = torch.autograd.grad(loss(logps, reference), logps)
    # each of the two responses is the other's baseline
    assert gradient[0, 0, 0].item() == pytest.approx((1000 - 600) / 2)
    assert gradient[0, 1, 0].item() == pytest.approx((600 - 1000) / 2)
    assert gradient[0, 0, 49].item() == pytest.approx((1000 if loss is reward_to_go_kl_loss else 400) / 2)


def test_an_adapter_with_modules_to_save_is_refused(run: Any, config: MakeConfig, tmp_path: Path) -> None:
    """Otherwise only its LoRA matrices would be loaded, and its trained head silently dropped."""
    result, _ = run(config(method="dpo", max_steps=1))
    base = AutoModelForCausalLM.from_pretrained(config().model_name_or_path)
    check_adapter(base, result.adapter_dir)
    folder = Path(copytree(result.adapter_dir, tmp_path / "whole"))
    weights = load_file(folder / "adapter_model.safetensors")
    head = {"base_model.model.lm_head.weight": base.lm_head.weight.detach().clone()}
    save_file(weights | head, folder / "adapter_model.safetensors")
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["modules_to_save"] is None  # always None in our adapters
    with pytest.raises(ModelError, match="does not fit"):
        check_adapter(base, folder)
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"modules_to_save": ["lm_head"]}))
    with pytest.raises(ModelError, match="modules_to_save"):
        check_adapter(base, folder)


def test_tied_embeddings_stay_tied(run: Any, config: MakeConfig) -> None:
    result, _ = run(config(method="dpo", lora_r=0, max_steps=2))
    model = AutoModelForCausalLM.from_pretrained(result.model_dir)
    before = AutoModelForCausalLM.from_pretrained(config().model_name_or_path)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not torch.equal(model.lm_head.weight, before.lm_head.weight)
    assert "lm_head.weight" not in load_file(result.model_dir / "model.safetensors")


@pytest.mark.parametrize("loss_type", ["ipo", "clamped"])
def test_evaluations_report_the_loss_that_is_trained(
    run: Any, config: MakeConfig, uneven: list[Pair], loss_type: str
) -> None:
    """At step 0 only the reference's margin separates the losses; here it prefers the rejected answer."""
    wrong_way_round = Pair(uneven[0].prompt, uneven[0].rejected * 9, uneven[0].chosen)
    beta, settings = 0.05, {"method": "dpo", "max_steps": 1, "max_completion_length": 100}
    _, recorder = run(config(loss_type=loss_type, beta=beta, **settings), eval_pairs=[wrong_way_round])
    found = recorder.values[0]
    margin = found["eval_logps/chosen"] - found["eval_logps/rejected"]
    assert margin < -20
    expected = {"ipo": 1 / (4 * beta**2), "clamped": math.log1p(math.exp(-beta * margin))}
    assert found["eval_loss"] == pytest.approx(expected[loss_type], rel=1e-4)
