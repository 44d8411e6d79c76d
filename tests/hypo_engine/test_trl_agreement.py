"""The engine compared with TRL's DPOTrainer: ten steps on the same token ids, weights and settings.

Both start from the same weights (LoRA: the same adapter) and see the same pairs in the same order, in
float32, with AdamW, weight decay, clipping and a falling rate. Loss, rewards, log-probabilities and
gradient norm of every step agree, and so do the trained weights.

Where TRL differs by design, both sides use a common setting:
- TRL tokenises prompt and answer as one text and starts the answer where that differs from the prompt
  alone. The engine joins separately tokenised ids, as in generation. Here both receive ids.
- TRL cuts what exceeds max_length at its end, including the answer's end token. The engine trims prompts on
  the left and leaves out pairs with too long an answer. Here nothing exceeds the limits.
- TRL warms up from a rate of zero, so its first step has no effect. The engine's first step has one. Here
  there is no warm-up.
- TRL shuffles with its own generator, and batches the pairs of a step in that order. The engine's order is
  a function of (seed, epoch), and it batches a step's pairs by length. Here TRL reads in the engine's
  order; a step's mean is the same.
- TRL's ``ipo`` averages over tokens, the engine's sums as in the paper; only ``sigmoid`` is compared.
- TRL's label smoothing belongs to other losses (robust, EXO), the engine's is conservative DPO.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.models.load import load_tokenizer
from hypo_engine.models.policy import load_policy
from hypo_engine.training.loop import train
from hypo_engine.training.plan import make_plan
from tests.hypo_engine.conftest import Recorder

STEPS = 10
SETTINGS: dict[str, Any] = {
    "method": "dpo",
    "beta": 0.2,
    "learning_rate": 3e-3,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.0,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_steps": STEPS,
    "precision": "float32",
    "eval_prompts": 0,
    "eval_pairs": 0,
    "probe_prompts": 0,
    "seed": 3,
}
SHARED = (
    "loss",
    "grad_norm",
    "learning_rate",
    "logps/chosen",
    "logps/rejected",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
)


@pytest.fixture(scope="module")
def uneven() -> list[Pair]:
    """Forty pairs of unequal length: one epoch of ten steps."""
    text = "Paris is the capital of France and the quick brown fox jumps over it"
    return [
        Pair(
            text[i : 2 * i + 5],
            " " + text[i % 3 : i % 3 + 5 * (1 + i % 6)] + ".",
            " No" + ", no" * (i % 4) + f" {i}.",
        )
        for i in range(4 * STEPS)
    ]


def ours(
    config: TrainConfig, pairs: list[Pair], tmp_path: Path
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """The engine's report of each step, and the final weights."""
    recorder = Recorder()
    result = train(
        config, pairs, output_dir=tmp_path / "ours", models_dir=tmp_path / "models", reporter=recorder
    )
    folder = result.adapter_dir or result.model_dir
    assert folder is not None
    (file,) = folder.glob("*.safetensors")
    return [recorder.values[step] for step in range(1, STEPS + 1)], load_file(file)


def in_our_order(config: TrainConfig, pairs: list[Pair], tokenizer: Any) -> list[TokenPair]:
    tokens, report = tokenize_pairs(
        pairs, Tokenization(tokenizer, config.prompt_style), max_prompt_length=64, max_completion_length=64
    )
    assert report.left_out == report.trimmed_prompts == 0
    plan = make_plan(
        len(tokens), pairs_per_step=config.pairs_per_step, max_steps=STEPS, epochs=1, seed=config.seed
    )
    return [tokens[place] for step in range(STEPS) for place in plan.pair_indices(step)]


def theirs(
    config: TrainConfig, pairs: list[Pair], tmp_path: Path
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """The same from TRL."""
    from datasets import Dataset
    from peft import get_peft_model_state_dict
    from transformers import AutoModelForCausalLM
    from trl import DPOTrainer

    class OnIds(DPOTrainer):  # type: ignore[misc]
        """A trainer that takes token ids unchanged and in order."""

        def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
            return dataset

        def _get_train_sampler(self, dataset: Dataset | None = None) -> Any:
            return torch.utils.data.SequentialSampler(dataset or self.train_dataset)

    tokenizer = load_tokenizer(config.model_name_or_path)
    ordered = in_our_order(config, pairs, tokenizer)
    trainer = OnIds(
        AutoModelForCausalLM.from_pretrained(config.model_name_or_path),
        args=their_arguments(config, tmp_path / "theirs"),
        train_dataset=Dataset.from_list(
            [{"prompt_ids": t.prompt, "chosen_ids": t.chosen, "rejected_ids": t.rejected} for t in ordered]
        ),
        processing_class=tokenizer,
        peft_config=their_adapter(config),
    )
    policy = load_policy(config, config.model_name_or_path, pad_id=0, device=torch.device("cpu"))
    trainer.model.load_state_dict(policy.model.state_dict())
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "logps/chosen" in entry]
    adapted = config.lora_r > 0
    return logged, get_peft_model_state_dict(trainer.model) if adapted else trainer.model.state_dict()


def their_arguments(config: TrainConfig, folder: Path) -> Any:
    """TRL's configuration of the same run."""
    from trl import DPOConfig

    return DPOConfig(
        output_dir=str(folder),
        beta=config.beta,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, config.rpo_alpha],
        max_length=None,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=config.weight_decay,
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        max_grad_norm=config.max_grad_norm,
        per_device_train_batch_size=config.per_device_train_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        max_steps=STEPS,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=False,
        use_cpu=True,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
    )


def their_adapter(config: TrainConfig) -> Any:
    """PEFT's configuration of the same adapter, or None."""
    from peft import LoraConfig, TaskType

    if config.lora_r == 0:
        return None
    return LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type=TaskType.CAUSAL_LM,
    )


# TRL uses a name that transformers deprecates
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "changes",
    [
        {"lora_r": 4},
        {"lora_r": 0},
        # TRL's mean over tokens is of a batch, the engine's of a step: here they are the same
        {
            "lora_r": 4,
            "rpo_alpha": 0.7,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 1,
        },
    ],
)
def test_ten_steps_agree_with_trl(
    tiny: Callable[[str], Path], uneven: list[Pair], tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = TrainConfig(model_name_or_path=str(tiny("llama")), **(SETTINGS | changes))
    found, ours_trained = ours(config, uneven, tmp_path)
    expected, theirs_trained = theirs(config, uneven, tmp_path)
    assert len(expected) == STEPS
    for step, (a, b) in enumerate(zip(found, expected, strict=True)):
        for name in SHARED:
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-5), (step, name)
        if step:  # at step 0 the signs of margins are only rounding
            assert a["rewards/accuracies"] == b["rewards/accuracies"]
    assert expected[-1]["loss"] < (0.9 if config.rpo_alpha else 0.5) * expected[0]["loss"]

    assert theirs_trained.keys() - ours_trained.keys() <= {"lm_head.weight"}  # tied
    for name, weight in ours_trained.items():
        difference = (weight - theirs_trained[name]).norm() / theirs_trained[name].norm()
        assert difference < 1e-4, name
