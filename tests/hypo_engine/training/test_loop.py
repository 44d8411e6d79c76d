"""Whole runs on tiny models: reports, stops, and exact resumption."""

import errno
import math
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hypo_engine.config import KLEstimator, Method, Precision, TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import CheckpointError, ConfigError, DataError, EngineError, Interrupted
from hypo_engine.forward import attention_mask
from hypo_engine.reporting import Wish
from hypo_engine.training import loop, saving
from hypo_engine.training import run as run_module
from hypo_engine.training.checkpoint import latest_checkpoint
from hypo_engine.training.loop import TrainResult, train
from tests.hypo_engine.conftest import Recorder, computed

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def run(tmp_path: Path, pairs: list[Pair]) -> Callable[..., tuple[TrainResult, Recorder]]:
    """Train with a recorder, evaluation included; returns result and recorder."""

    def start(
        config: TrainConfig, *, name: str = "out", recorder: Recorder | None = None, **changes: Any
    ) -> tuple[TrainResult, Recorder]:
        recorder = recorder or Recorder()
        arguments: dict[str, Any] = {
            "eval_pairs": pairs[:3],
            "eval_prompts": [pair.prompt for pair in pairs[:3]],
            "cache_dir": tmp_path / "cache",
        }
        result = train(
            config,
            changes.pop("pairs", pairs),
            output_dir=tmp_path / name,
            models_dir=tmp_path / "models",
            reporter=recorder,
            **(arguments | changes),
        )
        return result, recorder

    return start


def adapter(result: TrainResult) -> dict[str, torch.Tensor]:
    assert result.adapter_dir is not None
    return load_file(result.adapter_dir / "adapter_model.safetensors")


def assert_same_weights(one: TrainResult, other: TrainResult) -> None:
    a, b = adapter(one), adapter(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("method", [Method.DPO, Method.HYPO])
def test_step_zero_is_ln_two_and_nothing(run: Any, config: MakeConfig, method: Method) -> None:
    _, recorder = run(config(method=method))
    start = recorder.values[0]
    assert start["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert start["eval_rewards/margins"] == 0.0
    assert start["eval_rewards/accuracies"] == 0.5
    assert (start["num_train_pairs"], start["eval_num_pairs"], start["eval_num_prompts"]) == (10, 3, 2)
    assert (start["num_train_pairs_refused"], start["num_train_pairs_too_long"]) == (0, 0)
    assert start["eval_objective/kl"] == 0.0
    assert start["eval_objective/kl_stderr"] == 0.0
    first = recorder.values[1]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["rewards/accuracies"] == 0.5
    assert first["rewards/chosen"] == pytest.approx(0.0, abs=1e-5)
    assert first["rewards/rejected"] == pytest.approx(0.0, abs=1e-5)


def test_dpo_reports_its_metrics_and_samples_nothing_online(run: Any, config: MakeConfig) -> None:
    result, recorder = run(config(method="dpo"))
    assert result.steps == 3
    assert set(recorder.values) == {0, 1, 2, 3}
    expected = {
        "loss", "loss/dpo", "grad_norm", "learning_rate", "epoch", "num_tokens", "step_time", "time/training",
        "logps/chosen", "logps/rejected",
        "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
    }  # fmt: skip
    assert set(recorder.values[1]) == expected
    assert {row.kind for row in recorder.rows} == {"eval", "probe"}
    assert recorder.values[3]["loss"] < recorder.values[1]["loss"]
    assert recorder.values[3]["epoch"] == pytest.approx(1.0)


def test_sft_learns_the_chosen_answers_and_resumes(run: Any, config: MakeConfig) -> None:
    """The loss is a mean over tokens; no reference is scored, and a resumed run ends with the same bits."""
    settings = {"method": "sft", "eval_steps": 1, "save_steps": 1}
    result, recorder = run(config(**settings))
    values = recorder.values
    assert set(values[1]) >= {"loss", "logps/chosen"}
    assert "rewards/margins" not in values[1]
    assert not any(phase.startswith("reference") for _, _, phase in recorder.phases)
    assert values[3]["eval_loss"] < 0.9 * values[0]["eval_loss"]
    assert {"eval_loss_stderr", "eval_logps/chosen", "eval_objective/kl"} <= set(values[3])
    assert values[0]["eval_objective/kl"] == 0.0 < values[3]["eval_objective/kl"]
    rmtree(result.checkpoint_dir)
    again, _ = run(config(**settings))
    assert_same_weights(again, run(config(**settings), name="whole")[0])


@pytest.mark.exact
@pytest.mark.parametrize("method", [Method.RLOO, Method.PPO, Method.ONLINE_DPO])
def test_scored_methods_raise_the_score_and_resume(run: Any, config: MakeConfig, method: Method) -> None:
    settings = {
        "method": method, "reward": "length:-1", "num_generations": 6, "max_steps": 8, "save_steps": 4,
        "beta": 0.05, "max_completion_length": 12, "eval_prompts": 3,
    }  # fmt: skip
    result, recorder = run(config(**settings), eval_prompts=["Where?", "Why?", "When?"])
    values = recorder.values
    assert {"objective/kl", "objective/entropy", "val/num_eos_tokens", "time/sampling"} <= set(values[1])
    assert values[1]["objective/kl"] == pytest.approx(0.0, abs=1e-4)
    assert values[8]["objective/scores"] > values[1]["objective/scores"]
    for step in range(1, 9):
        penalised = values[step]["objective/scores"] - 0.05 * values[step]["objective/kl"]
        assert values[step]["objective/rlhf_reward"] == pytest.approx(penalised, abs=1e-5)
    assert "eval_loss" not in values[8]  # the pairs are not what it is trained on
    assert {"eval_objective/scores", "eval_objective/kl", "eval_rewards/accuracies"} <= set(values[8])
    assert not any(phase.startswith("reference") for _, _, phase in recorder.phases)
    whole = adapter(result)
    rmtree(result.checkpoint_dir)
    again, _ = run(config(**settings), eval_prompts=["Where?", "Why?", "When?"])
    assert all(torch.equal(weight, whole[name]) for name, weight in adapter(again).items())


def test_held_out_samples_are_scored(run: Any, config: MakeConfig) -> None:
    _, recorder = run(config(method="dpo", reward="length"))
    for step in (0, 3):
        lengths = [len(row.text.split()) for row in recorder.rows if row.kind == "eval" and row.step == step]
        assert recorder.values[step]["eval_objective/scores"] == sum(lengths) / 2
    assert "eval_objective/scores_stderr" in recorder.values[3]


def test_hypo_reports_kl_and_every_sample(run: Any, config: MakeConfig, decoding_gap: float) -> None:
    _, recorder = run(config(method="hypo"))
    values = recorder.values[2]
    assert {"objective/kl", "loss/kl", "time/sampling", "completions/clipped_ratio"} <= set(values)
    assert values["sampling/sampling_logp_difference/mean"] < decoding_gap
    online = [row for row in recorder.rows if row.kind == "online" and row.step == 2]
    assert len(online) == 4 * 2
    ratios = [row.policy_logp - row.reference_logp for row in online]
    assert values["objective/kl"] == pytest.approx(sum(ratios) / 8, abs=1e-4)
    assert values["completions/mean_length"] == pytest.approx(sum(row.tokens for row in online) / 8)
    assert values["completions/clipped_ratio"] == sum(not row.finished for row in online) / 8
    assert values["loss"] == pytest.approx(values["loss/dpo"] + 0.01 * values["objective/kl"], abs=1e-5)
    assert all(row.tokens == 20 for row in online if not row.finished)
    assert len({row.seed for row in recorder.rows if row.kind == "online"}) == (4 + 4 + 2) * 2


def test_the_penalty_holds_the_policy_near_the_reference(run: Any, config: MakeConfig) -> None:
    ends = {}
    for kl_coef in (0.0, 3.0):
        changes = {"kl_coef": kl_coef, "max_steps": 10, "num_generations": 8, "max_completion_length": 10}
        _, recorder = run(
            config(method="hypo", **changes),
            name=str(kl_coef),
            pairs=[Pair("a", "b", "c")] * 4,
            eval_pairs=(),
            eval_prompts=(),
        )
        ends[kl_coef] = sum(recorder.values[step]["objective/kl"] for step in (8, 9, 10)) / 3
    assert ends[3.0] < 0.5 * ends[0.0]


def test_hypo_without_penalty_is_dpo(run: Any, config: MakeConfig) -> None:
    results = [
        run(config(method=method, kl_coef=0.0), name=method, eval_pairs=(), eval_prompts=())[0]
        for method in ("dpo", "hypo")
    ]
    a, b = (adapter(result) for result in results)
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=2e-4, rtol=1e-2)


def test_evaluations_use_the_same_seeds_and_probes_are_greedy(run: Any, config: MakeConfig) -> None:
    _, recorder = run(config(method="dpo", learning_rate=1e-9, eval_steps=2))
    assert [step for step, values in recorder.values.items() if "eval_loss" in values] == [0, 2, 3]
    texts = {
        step: [(row.kind, row.seed, row.text) for row in recorder.rows if row.step == step] for step in (0, 3)
    }
    assert texts[0] == texts[3]  # the policy has barely changed
    assert [kind for kind, *_ in texts[0]] == ["eval"] * 2 + ["probe"]


def test_too_long_pairs_leave_their_place_in_the_evaluation_to_others(
    run: Any, config: MakeConfig, pairs: list[Pair]
) -> None:
    long = [Pair(pair.prompt, "never ends " * 40, pair.rejected) for pair in pairs[:2]]
    _, recorder = run(config(method="dpo", eval_pairs=2), eval_pairs=[*long, *pairs[:2]], eval_prompts=())
    _, expected = run(config(method="dpo", eval_pairs=2), name="b", eval_pairs=pairs[:2], eval_prompts=())
    assert recorder.values[0]["eval_logps/chosen"] == expected.values[0]["eval_logps/chosen"]


@pytest.mark.parametrize(
    ("method", "estimator"),
    [(Method.DPO, KLEstimator.SEQUENCE), *((Method.HYPO, estimator) for estimator in KLEstimator)],
)  # DPO estimates no KL
def test_the_same_seed_gives_the_same_run(
    run: Any, config: MakeConfig, method: Method, estimator: KLEstimator
) -> None:
    settings = {"method": method, "kl_estimator": estimator}
    one, other = (run(config(**settings), name=name) for name in ("a", "b"))
    assert computed(one[1]) == computed(other[1])
    assert one[1].rows == other[1].rows
    assert_same_weights(one[0], other[0])
    different, _ = run(config(**settings, seed=1), name="c")
    assert different.metrics["loss"] != one[0].metrics["loss"]


@pytest.mark.parametrize("method", list(Method))
def test_eight_batches_of_one_are_one_batch_of_eight(
    run: Any, config: MakeConfig, method: Method, precision: str
) -> None:
    found = []
    for batch, accumulation in ((8, 1), (1, 8), (3, 3)):
        settings = {
            "method": method,
            "reward": "length",
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulation,
            "max_steps": 1,
            "critic_warmup": 0,
        }
        _, recorder = run(config(**settings), name=f"{batch}", eval_pairs=(), eval_prompts=())
        found.append(recorder.values[1])
    compared = {"loss", "grad_norm", "rewards/margins", "logps/chosen", "num_tokens", "objective/scores"}
    # PPO's later updates round adapters that differ in float32's last digits
    off = 1e-2 if precision == "bfloat16" and method is Method.PPO else 1e-3
    for name in compared & set(found[0]):
        assert found[1][name] == pytest.approx(found[0][name], rel=off, abs=1e-5)
    assert found[2]["num_tokens"] > found[0]["num_tokens"]  # nine pairs


@pytest.mark.exact
def test_the_reference_may_be_computed_on_the_way(run: Any, config: MakeConfig) -> None:
    found = []
    for cached in (True, False):
        _, recorder = run(config(method="hypo", precompute_ref_log_probs=cached), name=str(cached))
        found.append(recorder)
    for step in (1, 2, 3):
        for name in ("loss", "rewards/margins", "objective/kl"):
            expected = found[0].values[step][name]
            assert found[1].values[step][name] == pytest.approx(expected, rel=1e-2, abs=2e-3)
    assert not any("reference" in phase for _, _, phase in found[1].phases)


def test_twins_share_the_cached_reference(run: Any, config: MakeConfig) -> None:
    _, first = run(config(method="dpo"), name="dpo")
    _, twin = run(config(method="hypo"), name="hypo")
    assert any("reference log-probabilities" in phase for _, _, phase in first.phases)
    assert not any("reference log-probabilities" in phase for _, _, phase in twin.phases)
    assert twin.values[0] == first.values[0]


def test_a_run_that_adapts_other_layers_begins_at_its_own_reference(run: Any, config: MakeConfig) -> None:
    """With AMX bfloat16 rounds more where LoRA adapts all of a feed-forward module, in both of them."""
    run(config(precision="bfloat16"), name="one")
    _, other = run(config(precision="bfloat16", lora_target_modules="q_proj,v_proj"), name="other")
    assert any("reference log-probabilities" in phase for _, _, phase in other.phases)
    assert other.values[0]["eval_rewards/margins"] == 0.0
    assert other.values[1]["rewards/margins"] == 0.0


@pytest.mark.exact
def test_a_model_that_cannot_share_prompts_trains_all_the_same(
    run: Any, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shared = run(config(method="hypo"), name="shared")

    def refuse(*_: object, **__: object) -> None:
        raise TypeError("recurrent")

    monkeypatch.setattr(attention_mask.CompletionPass, "attend", refuse)
    _, plain = run(config(method="hypo"), name="plain")
    assert any("cannot share prompts" in message for message in plain.messages)
    for name in ("loss", "grad_norm", "objective/kl", "completions/mean_length"):
        assert plain.values[2][name] == pytest.approx(shared.values[2][name], rel=1e-2, abs=1e-3)


@pytest.mark.parametrize(
    "settings", [{"lora_r": 0}, {"gradient_checkpointing": True}, {"precision": "bfloat16"}]
)
def test_other_ways_of_training(run: Any, config: MakeConfig, settings: dict[str, Any]) -> None:
    result, recorder = run(config(method="hypo", **settings))
    assert recorder.values[3]["loss/dpo"] < recorder.values[1]["loss/dpo"]
    assert (result.adapter_dir is None) is (settings.get("lora_r") == 0)
    if result.model_dir:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        assert AutoModelForCausalLM.from_pretrained(result.model_dir).num_parameters() > 0
        assert AutoTokenizer.from_pretrained(result.model_dir).chat_template


def test_full_fine_tuning_with_dpo_needs_no_second_model(
    run: Any, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hypo_engine.models.policy as policy_module

    loads: list[str] = []
    load = policy_module.load_model
    monkeypatch.setattr(policy_module, "load_model", lambda *a, **k: loads.append("") or load(*a, **k))
    settings = {"method": "dpo", "lora_r": 0, "learning_rate": 1e-3}
    run(config(**settings), eval_prompts=(), eval_pairs=(), name="first")
    assert len(loads) == 2  # the reference was scored once and cached
    run(config(**settings), eval_prompts=(), eval_pairs=(), name="second")
    assert len(loads) == 3


def stop_when(step: int, wish: Wish, phase: str = "") -> Recorder:
    """A recorder that returns ``wish`` once ``step`` steps are done and a phase has begun."""
    return Recorder(
        lambda r: wish if any(s >= step and p.startswith(phase) for s, _, p in r.phases) else Wish.CONTINUE
    )


@pytest.mark.parametrize("settings", [{"method": "dpo"}, {"method": "hypo"}, {"method": "hypo", "lora_r": 0}])
def test_stopping_and_going_on_is_the_straight_run_bit_for_bit(
    run: Any, config: MakeConfig, tmp_path: Path, settings: dict[str, Any]
) -> None:
    settings |= {"max_steps": 5, "lr_scheduler_type": "cosine", "learning_rate": 1e-3}
    straight, expected = run(config(**settings), name="straight")
    with pytest.raises(Interrupted) as stopped:
        run(config(**settings), name="parts", recorder=stop_when(2, Wish.YIELD))
    assert stopped.value.wish is Wish.YIELD
    assert latest_checkpoint(tmp_path / "parts").name == "checkpoint-000002"  # type: ignore[union-attr]
    result, rest = run(config(**settings), name="parts")
    assert set(rest.values) == {3, 4, 5}
    assert {step: computed(rest)[step] for step in (3, 4, 5)} == {
        step: computed(expected)[step] for step in (3, 4, 5)
    }
    assert rest.rows == [row for row in expected.rows if row.step >= 3]
    folders = [r.adapter_dir or r.model_dir for r in (straight, result)]
    files = [next(folder.glob("*.safetensors")).read_bytes() for folder in folders]
    assert files[0] == files[1]


def test_going_on_without_the_cached_reference_is_the_straight_run_bit_for_bit(
    run: Any, config: MakeConfig, pairs: list[Pair], tmp_path: Path
) -> None:
    """Three epochs of three steps; a pair's padding differs between its batches."""
    stop = 4
    settings = {"method": "dpo", "max_steps": 9, "learning_rate": 1e-3, "gradient_accumulation_steps": 2}
    settings |= {"per_device_train_batch_size": 2, "max_prompt_length": 400}
    uneven = [Pair("Write. " * 7 ** (i % 3), f"Paris {i}.", "No. " * (i % 4)) for i in range(len(pairs))]
    straight, expected = run(config(**settings), name="straight", pairs=uneven)
    with pytest.raises(Interrupted):
        run(config(**settings), name="parts", pairs=uneven, recorder=stop_when(stop, Wish.YIELD))
    rmtree(tmp_path / "cache")
    result, rest = run(config(**settings), name="parts", pairs=uneven)
    for step in range(stop + 1, 10):
        assert computed(rest)[step] == computed(expected)[step]
    assert_same_weights(result, straight)


@pytest.mark.parametrize(
    "change", [{"per_device_train_batch_size": 2}, {"gradient_accumulation_steps": 2}, {"seed": 3}]
)
def test_a_cached_reference_of_other_batches_is_not_used(
    run: Any, config: MakeConfig, tmp_path: Path, change: dict[str, Any]
) -> None:
    run(config(method="dpo"), name="before")
    after, found = run(config(method="dpo", **change), name="after")
    alone, expected = run(config(method="dpo", **change), name="alone", cache_dir=tmp_path / "empty")
    assert computed(found) == computed(expected)
    assert_same_weights(after, alone)
    assert any("reference log-probabilities" in phase for _, _, phase in found.phases)


def test_a_finished_run_is_only_evaluated_again(run: Any, config: MakeConfig) -> None:
    first, _ = run(config(method="dpo"))
    again, recorder = run(config(method="dpo"))
    assert again.steps == 3
    assert again.checkpoint_dir == first.checkpoint_dir
    assert set(recorder.values) == {3}
    assert recorder.checkpoints == []


def test_cancel_keeps_what_was_made(run: Any, config: MakeConfig, tmp_path: Path) -> None:
    recorder = stop_when(2, Wish.CANCEL)
    with pytest.raises(Interrupted) as stopped:
        run(config(method="hypo", max_steps=50), recorder=recorder)
    assert stopped.value.wish is Wish.CANCEL
    assert recorder.checkpoints == [(2, str(tmp_path / "out" / "checkpoint-000002"))]


@pytest.mark.parametrize("phase", ["training", "saving"])
def test_an_abandoned_run_leaves_the_checkpoints_as_they_are(
    run: Any, config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    monkeypatch.setattr(saving, "_ROLLING_SECONDS", 0.0)
    monkeypatch.setattr(loop, "checkpoint_is_due", lambda run: run.counters.step in (2, 4))
    recorder = stop_when(4 if phase == "saving" else 3, Wish.ABANDON, phase)
    with pytest.raises(Interrupted) as stopped:
        run(config(method="dpo", max_steps=50), recorder=recorder)
    assert stopped.value.wish is Wish.ABANDON
    assert [step for step, _ in recorder.checkpoints] == [2]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-000002"]


def test_a_run_abandoned_while_it_saved_deletes_nothing(
    run: Any, config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "checkpoint_is_due", lambda run: True)
    recorder = Recorder(lambda r: Wish.ABANDON if len(r.checkpoints) == 2 else Wish.CONTINUE)
    with pytest.raises(Interrupted):
        run(config(method="dpo"), recorder=recorder)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "checkpoint-000001",
        "checkpoint-000002",
    ]


@pytest.mark.parametrize("phase", ["loading model", "reference", "evaluating", "sampling"])
def test_long_phases_let_go(
    run: Any, config: MakeConfig, tmp_path: Path, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_WISH_SECONDS", 0.0)
    with pytest.raises(Interrupted):
        run(config(method="hypo"), recorder=stop_when(0, Wish.CANCEL, phase))
    assert latest_checkpoint(tmp_path / "out") is None


def test_sampling_within_a_step_lets_go_and_the_step_is_done_again(
    run: Any, config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_WISH_SECONDS", 0.0)
    straight, _ = run(config(method="hypo"), name="straight")
    asked: list[int] = []

    def in_the_middle(recorder: Recorder) -> Wish:
        in_step = recorder.phases[-1][0] == 1 and recorder.phases[-1][2] == "training"
        asked.extend([1] if in_step else [])
        return Wish.YIELD if len(asked) == 5 else Wish.CONTINUE  # between tokens of step 2

    with pytest.raises(Interrupted):
        run(config(method="hypo"), name="parts", recorder=Recorder(in_the_middle))
    assert latest_checkpoint(tmp_path / "parts").name == "checkpoint-000001"  # type: ignore[union-attr]
    result, _ = run(config(method="hypo"), name="parts")
    assert_same_weights(result, straight)


def test_ppo_stops_between_steps_and_never_between_updates(
    run: Any, config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates a step; the wish comes in the second one of step 2."""
    settings = {
        "method": "ppo", "reward": "length:-1", "num_ppo_epochs": 3, "critic_warmup": 1,
        "max_completion_length": 20,
    }  # fmt: skip
    straight, _ = run(config(**settings), name="straight")
    monkeypatch.setattr(run_module, "_WISH_SECONDS", 0.0)
    updates: list[int] = []
    original = loop.clip_gradients

    def clip(*arguments: Any) -> torch.Tensor:
        updates.append(1)
        return original(*arguments)

    monkeypatch.setattr(loop, "clip_gradients", clip)
    recorder = Recorder(lambda _: Wish.YIELD if len(updates) >= 5 else Wish.CONTINUE)
    with pytest.raises(Interrupted):
        run(config(**settings), name="parts", recorder=recorder)
    assert len(updates) == 6
    assert latest_checkpoint(tmp_path / "parts").name == "checkpoint-000002"  # type: ignore[union-attr]
    result, _ = run(config(**settings), name="parts")
    assert_same_weights(result, straight)
    heads = [load_file(r.checkpoint_dir / "value_head.safetensors")["weight"] for r in (straight, result)]
    assert heads[0].abs().max() > 0
    assert torch.equal(*heads)


def test_checkpoints_by_save_steps_and_the_last_two_only(
    run: Any, config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, recorder = run(config(method="dpo", max_steps=5, save_steps=2), name="kept")
    assert [step for step, _ in recorder.checkpoints] == [2, 4, 5]
    assert len(list((tmp_path / "kept").iterdir())) == 3
    run(config(method="dpo", max_steps=5, save_steps=2, save_total_limit=2), name="limited")
    assert sorted(path.name[-1] for path in (tmp_path / "limited").iterdir()) == ["4", "5"]
    monkeypatch.setattr(saving, "_ROLLING_SECONDS", 0.0)
    monkeypatch.setattr(loop, "checkpoint_is_due", lambda run: True)
    _, recorder = run(config(method="dpo", max_steps=3), name="rolling")
    assert [step for step, _ in recorder.checkpoints] == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "rolling").iterdir()) == [
        "checkpoint-000002",
        "checkpoint-000003",
    ]


def test_resume_off_starts_over(run: Any, config: MakeConfig, tmp_path: Path) -> None:
    run(config(method="dpo", max_steps=5))
    _, recorder = run(config(method="dpo", max_steps=2), resume=False)
    assert set(recorder.values) == {0, 1, 2}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-000002"]


@pytest.mark.parametrize("change", [{"beta": 0.3}, {"seed": 5}, {"learning_rate": 1e-3}])
def test_another_configuration_does_not_go_on(run: Any, config: MakeConfig, change: dict[str, Any]) -> None:
    run(config(method="dpo"))
    with pytest.raises(
        CheckpointError, match=rf"made with {next(iter(change))} .*; this run has {next(iter(change))} "
    ):
        run(config(method="dpo", **change))


def test_other_data_or_another_model_does_not_go_on(
    run: Any, config: MakeConfig, pairs: list[Pair], tiny: Any, tmp_path: Path
) -> None:
    folder = Path(copytree(tiny("llama"), tmp_path / "model"))
    settings = {"method": "dpo", "model_name_or_path": str(folder)}
    run(config(**settings))
    with pytest.raises(CheckpointError, match=r"made with pairs 10, data .*; this run has pairs 9, data "):
        run(config(**settings), pairs=pairs[:-1])
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"made with model .*; this run has model "):
        run(config(**settings))


def test_a_run_goes_on_elsewhere(run: Any, config: MakeConfig, tiny: Any, tmp_path: Path) -> None:
    straight, _ = run(config(method="dpo"), name="straight")
    with pytest.raises(Interrupted):
        run(config(method="dpo"), recorder=stop_when(1, Wish.YIELD), name="one/machine")
    folder = Path(copytree(tiny("llama"), tmp_path / "another" / "place"))
    (folder / "model.safetensors").touch()
    copytree(tmp_path / "one" / "machine", tmp_path / "another" / "machine")
    settings = {"method": "dpo", "model_name_or_path": str(folder)}
    resumed, recorder = run(config(**settings), name="another/machine", cache_dir=tmp_path / "empty")
    assert "info: Continuing from step 1." in recorder.messages
    assert_same_weights(resumed, straight)


def test_watching_otherwise_is_the_same_run(run: Any, config: MakeConfig) -> None:
    run(config(method="dpo"))
    run(config(method="dpo", logging_steps=5, eval_steps=1, eval_pairs=2))


def test_metrics_between_two_reports_are_means(run: Any, config: MakeConfig) -> None:
    _, every = run(config(method="dpo", max_steps=4), name="every")
    _, second = run(config(method="dpo", max_steps=4, logging_steps=2), name="second")
    assert {step for step, values in second.values.items() if "loss" in values} == {2, 4}
    mean = (every.values[1]["loss"] + every.values[2]["loss"]) / 2
    assert second.values[2]["loss"] == pytest.approx(mean)
    assert second.values[2]["num_tokens"] == every.values[2]["num_tokens"]


def test_no_pairs(run: Any, config: MakeConfig) -> None:
    with pytest.raises(DataError, match="no pairs to train on"):
        run(config(), pairs=[])


def test_lengths_beyond_the_models_context(run: Any, config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match="the model reads 2048 tokens"):
        run(config(max_prompt_length=2040))


def test_what_is_left_out_is_reported(run: Any, config: MakeConfig, pairs: list[Pair]) -> None:
    _, recorder = run(config(method="dpo"), pairs=[*pairs, Pair("a", "b", "A long answer. " * 40)])
    assert any("1 of 11 pairs were left out" in message for message in recorder.messages)


def test_nothing_but_too_long_answers(run: Any, config: MakeConfig, pairs: list[Pair]) -> None:
    long = Pair("a", "b", "A long answer. " * 40)
    with pytest.raises(DataError, match="raise max_completion_length"):
        run(config(), pairs=[long])
    _, recorder = run(config(method="dpo"), eval_pairs=[long])  # only the evaluation is skipped
    assert "eval_loss" not in recorder.values[0]


def test_a_loss_that_is_no_number_names_the_step(
    run: Any, config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loop, "clip_gradients", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(EngineError, match=r"At step 1 .* lower the learning rate"):
        run(config())
    assert latest_checkpoint(tmp_path / "out") is None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (MemoryError(), "The memory is full"),
        (torch.OutOfMemoryError(), "lower the batch size"),
    ],
)
def test_full_disks_and_memories_become_a_sentence(
    run: Any, config: MakeConfig, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(saving, "save_checkpoint", fail)
    with pytest.raises(EngineError, match=sentence):
        run(config(method="dpo"))


def test_temperature_scales_policy_and_reference_alike(
    run: Any, config: MakeConfig, decoding_gap: float
) -> None:
    _, recorder = run(config(method="hypo", temperature=0.5))
    assert recorder.values[1]["objective/kl"] == pytest.approx(0.0, abs=1e-4)
    assert recorder.values[2]["sampling/sampling_logp_difference/mean"] < decoding_gap


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "gpt_neox", "gemma2"])
def test_every_architecture_trains(run: Any, config: MakeConfig, tiny: Any, architecture: str) -> None:
    result, recorder = run(config(method="hypo", model_name_or_path=str(tiny(architecture))))
    assert recorder.values[0]["eval_objective/kl"] == 0.0
    assert recorder.values[3]["loss/dpo"] < math.log(2)
    assert result.adapter_dir is not None


def test_the_precision_field_reaches_the_weights(run: Any, config: MakeConfig) -> None:
    result, _ = run(config(method="dpo", precision=Precision.BFLOAT16))
    assert {tensor.dtype for tensor in adapter(result).values()} == {torch.float32}
