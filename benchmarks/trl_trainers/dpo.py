"""TRL's DPOTrainer on a job's token ids."""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from benchmarks.jobs import Job, pairs_of
from benchmarks.meter import Meter, now
from benchmarks.ours import BETA, train_adapter_a_little, vocabulary
from benchmarks.trl_trainers import common


def logps(job: Job) -> dict[str, Any]:
    """Log-probabilities of the first step's answers from TRL's trainer, in the format of ``ours.logps``."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = OnIds(job, folder, Meter(), gradient_checkpointing=False, precompute_ref_log_probs=True)
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(job.pairs)])
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        device = trainer.accelerator.device
        with torch.no_grad(), trainer.accelerator.autocast():
            output = trainer.model(
                input_ids=batch["input_ids"].to(device),
                attention_mask=batch["attention_mask"].to(device),
                labels=labels.to(device),
                use_cache=False,
                fused_lm_head=True,
            )
        return {"logps": output.log_probs[:, -job.completion :].float().tolist()}


class OnIds(DPOTrainer):  # type: ignore[misc]
    """DPOTrainer on a job's token ids.

    Attributes:
        reference_seconds: One-time seconds of scoring the reference, a step.
    """

    def __init__(self, job: Job, folder: str, meter: Meter, **options: Any) -> None:
        self.job, self.meter, self.reference_seconds = job, meter, 0.0
        dtype = common.dtype(job)
        model = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype)
        super().__init__(
            model=model,
            ref_model=self._reference(job, dtype),
            args=DPOConfig(
                per_device_train_batch_size=job.pairs,
                max_length=None,
                beta=BETA,
                **common.arguments(job, folder),
                **options,
            ),
            train_dataset=_dataset(job, vocabulary(model)),
            processing_class=AutoTokenizer.from_pretrained(job.model),
            peft_config=common.lora(job),
            callbacks=[common.Clock(meter)],
        )
        meter.loaded(self.model)
        train_adapter_a_little(self.model)
        self.prepare()

    def _reference(self, _job: Job, _dtype: torch.dtype) -> Any:
        """A second model for the reference; None leaves the reference to the trainer."""
        return None

    def prepare(self) -> None:
        """Prepare the first step."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset  # already token ids

    def _precompute_ref_logps(self, *arguments: Any, **named: Any) -> Dataset:
        self.meter.loaded(self.model)
        started = now()
        dataset = super()._precompute_ref_logps(*arguments, **named)
        self.reference_seconds = (now() - started) / self.job.all_steps
        return dataset


def _dataset(job: Job, size: int) -> Dataset:
    return Dataset.from_list(
        [
            {"prompt_ids": p.prompt, "chosen_ids": p.chosen, "rejected_ids": p.rejected}
            for p in pairs_of(job, steps=job.all_steps, vocabulary=size)
        ]
    )
