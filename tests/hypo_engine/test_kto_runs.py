"""KTO runs: against TRL's KTOTrainer, resumed, and on rows with one answer, which other methods leave out."""

import math
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import DataError
from hypo_engine.models.load import load_tokenizer
from hypo_engine.models.policy import load_policy
from hypo_engine.training.loop import train
from tests.hypo_engine.conftest import Recorder
from tests.hypo_engine.test_trl_agreement import SETTINGS, STEPS, in_our_order, ours, their_adapter

A_STEP = 4
KTO: dict[str, Any] = SETTINGS | {
    "method": "kto",
    "desirable_weight": 1.3,
    "undesirable_weight": 0.8,
    "per_device_train_batch_size": A_STEP,
    "gradient_accumulation_steps": 1,
    "lora_r": 4,
}


@pytest.fixture(scope="module")
def thumbs() -> list[Pair]:
    """Forty rows with one answer each, good or bad."""
    text = "Paris is the capital of France and the quick brown fox jumps over it"
    good = [" " + text[i % 3 : i % 3 + 5 * (1 + i % 6)] + "." for i in range(A_STEP * STEPS)]
    bad = [" No" + ", no" * (i % 4) + f" {i}." for i in range(A_STEP * STEPS)]
    return [
        Pair(text[i : 2 * i + 5], "" if i % 5 < 2 else good[i], bad[i] if i % 5 < 2 else "")
        for i in range(A_STEP * STEPS)
    ]


def theirs(config: TrainConfig, rows: list[Pair], folder: Path) -> tuple[list[dict[str, float]], Any]:
    """The same run by TRL, on the same ids in the same order."""
    from datasets import Dataset
    from peft import get_peft_model_state_dict
    from transformers import AutoModelForCausalLM
    from trl import KTOConfig, KTOTrainer

    class OnIds(KTOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
            return dataset

        def _get_train_sampler(self, dataset: Dataset | None = None) -> Any:
            return torch.utils.data.SequentialSampler(dataset or self.train_dataset)

    tokenizer = load_tokenizer(config.model_name_or_path)
    ordered = in_our_order(config, rows, tokenizer)
    examples = []
    for start in range(0, len(ordered), A_STEP):
        batch = sorted(ordered[start : start + A_STEP], key=lambda pair: not pair.chosen)
        answers = [pair.chosen or pair.rejected for pair in batch]
        examples += [
            {
                "prompt_ids": pair.prompt,
                "completion_ids": answer,
                "KL_completion_ids": before,
                "label": bool(pair.chosen),
            }
            for pair, answer, before in zip(batch, answers, [answers[-1], *answers[:-1]], strict=True)
        ]
    trainer = OnIds(
        AutoModelForCausalLM.from_pretrained(config.model_name_or_path),
        args=KTOConfig(
            output_dir=str(folder), beta=config.beta, desirable_weight=config.desirable_weight,
            undesirable_weight=config.undesirable_weight, max_length=None,
            learning_rate=config.learning_rate, lr_scheduler_type="linear", warmup_steps=0,
            weight_decay=config.weight_decay, max_grad_norm=config.max_grad_norm,
            per_device_train_batch_size=A_STEP, max_steps=STEPS, logging_steps=1, save_strategy="no",
            report_to="none", disable_tqdm=True, bf16=False, use_cpu=True, dataloader_pin_memory=False,
            activation_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        peft_config=their_adapter(config),
    )  # fmt: skip
    policy = load_policy(config, config.model_name_or_path, pad_id=0, device=torch.device("cpu"))
    trainer.model.load_state_dict(policy.model.state_dict())
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "kl" in entry]
    return logged, get_peft_model_state_dict(trainer.model)


# TRL uses a name that transformers deprecates
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_ten_steps_agree_with_trl(tiny: Callable[[str], Path], thumbs: list[Pair], tmp_path: Path) -> None:
    config = TrainConfig(model_name_or_path=str(tiny("llama")), **KTO)
    found, ours_trained = ours(config, thumbs, tmp_path)
    expected, theirs_trained = theirs(config, thumbs, tmp_path / "theirs")
    assert len(expected) == STEPS
    names = (
        "loss",
        "grad_norm",
        "kl",
        "logps/chosen",
        "logps/rejected",
        "rewards/chosen",
        "rewards/rejected",
    )
    seen = set()
    for step, (a, b) in enumerate(zip(found, expected, strict=True)):
        for name in set(names) & set(b):
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-5), (step, name)
            seen |= {name}
        assert a.keys() & set(names) == b.keys() & set(names), step
    assert seen == set(names)
    assert max(step["kl"] for step in found) > 0.1  # otherwise z0 would not be compared
    for name, weight in ours_trained.items():
        difference = (weight - theirs_trained[name]).norm() / theirs_trained[name].norm()
        assert difference < 1e-4, name


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[[str], Path], thumbs: list[Pair], pairs: list[Pair]) -> Any:
    """Train on pairs and single rows; returns the result and what was recorded."""

    def start(name: str, rows: list[Pair] | None = None, **changes: Any) -> Any:
        fields = KTO | {"eval_pairs": 8, "eval_prompts": 0, "max_steps": 4, "save_steps": 2} | changes
        recorder = Recorder()
        result = train(
            TrainConfig(model_name_or_path=str(tiny("llama")), **fields),
            rows or [*pairs, *thumbs[:7]],
            eval_pairs=[*thumbs[7:12], *pairs[:3]],
            output_dir=tmp_path / name,
            models_dir=tmp_path / "models",
            reporter=recorder,
            cache_dir=tmp_path / "cache",
        )
        return result, recorder

    return start


def test_pairs_and_single_rows_train_and_resume(run: Any) -> None:
    result, recorder = run("kto")
    start, end = recorder.values[0], recorder.values[4]
    # eight rows: five with a chosen answer and six with a rejected one
    assert start["eval_loss"] == pytest.approx(0.5 * (6 * 1.3 + 5 * 0.8) / 11, abs=1e-6)
    assert (start["eval_rewards/margins"], start["eval_kl"], start["num_train_pairs"]) == (0.0, 0.0, 17)
    assert all(math.isfinite(value) for value in end.values())
    assert end["eval_rewards/margins"] > 0
    whole = (result.adapter_dir / "adapter_model.safetensors").read_bytes()
    rmtree(result.checkpoint_dir)
    again, _ = run("kto")
    assert (again.adapter_dir / "adapter_model.safetensors").read_bytes() == whole
    smaller, _ = run("halves", per_device_train_batch_size=2, gradient_accumulation_steps=2)
    assert smaller.metrics["eval_loss"] == pytest.approx(result.metrics["eval_loss"], rel=1e-3)


def test_other_methods_leave_single_rows_out(run: Any, thumbs: list[Pair]) -> None:
    _, dpo = run("dpo", method="dpo")
    assert any("7 of 17 rows were left out: they have one answer" in said for said in dpo.messages)
    assert (dpo.values[0]["num_train_pairs"], dpo.values[0]["eval_num_pairs"]) == (10, 3)
    _, sft = run("sft", method="sft")
    assert (sft.values[0]["num_train_pairs"], sft.values[0]["eval_num_pairs"]) == (13, 6)
    assert sft.values[4]["eval_logps/rejected"] < 0
    with pytest.raises(DataError, match="40 of 40 rows have one answer; train them with KTO"):
        run("none", rows=thumbs, method="dpo")
