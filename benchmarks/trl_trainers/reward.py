"""TRL's RewardTrainer on a job's token ids."""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

from benchmarks.jobs import Job, pairs_of
from benchmarks.meter import Meter
from benchmarks.ours import reward_weight, train_adapter_a_little, vocabulary
from benchmarks.trl_trainers import common


def rewards(job: Job) -> dict[str, Any]:
    """Rewards of the first step's answers from TRL's trainer, in the format of ``ours.rewards``."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = OnIds(job, folder, Meter(), gradient_checkpointing=False)
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(job.pairs)])
        device = trainer.accelerator.device
        with torch.no_grad(), trainer.accelerator.autocast():
            found = trainer.model(
                input_ids=batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device)
            ).logits
        return {"rewards": found.float().tolist()}


class OnIds(RewardTrainer):  # type: ignore[misc]
    """RewardTrainer on a job's token ids, with the head of ours."""

    reference_seconds = 0.0

    def __init__(self, job: Job, folder: str, meter: Meter, **options: Any) -> None:
        model = AutoModelForSequenceClassification.from_pretrained(
            job.model, num_labels=1, dtype=common.dtype(job)
        )
        tokenizer = AutoTokenizer.from_pretrained(job.model)
        lora = common.lora(job, task="SEQ_CLS")
        if lora is not None:
            lora.modules_to_save = ["score"]
        super().__init__(
            model=model,
            args=RewardConfig(
                per_device_train_batch_size=job.pairs,
                max_length=None,
                **common.arguments(job, folder),
                **options,
            ),
            train_dataset=_dataset(job, vocabulary(model), tokenizer.pad_token_id),
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[common.Clock(meter)],
        )
        meter.loaded(self.model)
        train_adapter_a_little(self.model)
        _set_head(self.model)


@torch.no_grad()
def _set_head(model: Any) -> None:
    for name, weight in model.named_parameters():
        if "score" in name and "original" not in name:
            weight.copy_(reward_weight(weight.shape[1]))


def _dataset(job: Job, size: int, pad_id: int) -> Dataset:
    rows = []
    for pair in pairs_of(job, steps=job.all_steps, vocabulary=size):
        # the classifier reads the last token that is no padding
        assert pad_id not in (pair.chosen[-1], pair.rejected[-1])
        rows.append({"chosen_ids": pair.prompt + pair.chosen, "rejected_ids": pair.prompt + pair.rejected})
    return Dataset.from_list(rows)
