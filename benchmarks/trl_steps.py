"""TRL's DPOTrainer on the same token ids: with its defaults, tuned, and with HyPO's penalty added to it.

The composed variant is what a user of TRL and transformers would write: ``generate`` with its key-value
cache, one scoring pass of the samples with gradient, and one of the reference without.
"""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

from benchmarks.decode import plain_sampling
from benchmarks.jobs import Job, learning_rate, pairs_of
from benchmarks.meter import Meter, now
from benchmarks.ours import BETA, CLIP, LORA_ALPHA, LORA_RANK, train_adapter_a_little, vocabulary
from hypo_engine.methods.losses import sequence_kl_loss

KL_COEF = 1e-3
_TUNED = {"gradient_checkpointing": False, "precompute_ref_log_probs": True}


def as_it_comes(job: Job) -> dict[str, Any]:
    """Run TRL's defaults: checkpointing on, the reference scored in every step."""
    return _run(job, _Trainer)


def tuned(job: Job) -> dict[str, Any]:
    """Run without checkpointing and with the reference scored once."""
    return _run(job, _Trainer, **_TUNED)


def composed(job: Job) -> dict[str, Any]:
    """Run HyPO on the tuned trainer."""
    return _run(job, _Composed, **_TUNED)


def logps(job: Job) -> dict[str, Any]:
    """Log-probabilities of the first step's answers from TRL's trainer, in the format of ``ours.logps``."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _Trainer(job, folder, Meter(), **_TUNED)
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


def _run(job: Job, trainer_class: "type[_Trainer]", **options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter()
        trainer = trainer_class(job, folder, meter, **options)
        trainer.train()
        return meter.result(reference_seconds=trainer.reference_seconds)


class _Trainer(DPOTrainer):  # type: ignore[misc]
    """DPOTrainer on a job's token ids."""

    def __init__(self, job: Job, folder: str, meter: Meter, **options: Any) -> None:
        self.job, self.meter, self.reference_seconds = job, meter, 0.0
        on_gpu = torch.cuda.is_available()
        dtype = torch.bfloat16 if on_gpu and job.tuning == "lora" else torch.float32
        model = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(job.model)
        lora = LoraConfig(
            r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        super().__init__(
            model=model,
            ref_model=self._reference(job, dtype),
            args=DPOConfig(
                output_dir=folder,
                per_device_train_batch_size=job.pairs,
                max_steps=job.all_steps,
                max_length=None,
                beta=BETA,
                learning_rate=learning_rate(job.tuning),
                lr_scheduler_type="constant",
                max_grad_norm=CLIP,
                optim="adamw_torch_fused",
                bf16=on_gpu,
                use_cpu=not on_gpu,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                **options,
            ),
            train_dataset=_dataset(job, vocabulary(model)),
            processing_class=tokenizer,
            peft_config=lora if job.tuning == "lora" else None,
            callbacks=[_Clock(meter)],
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


class _Composed(_Trainer):
    """Adds HyPO's penalty to the trainer's loss."""

    def _reference(self, job: Job, dtype: torch.dtype) -> Any:
        if job.tuning == "lora":
            return None
        model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype)
        return model.requires_grad_(False).eval()

    def prepare(self) -> None:
        self.accelerator.unwrap_model(self.model).generation_config.eos_token_id = None  # see plain_sampling
        self.generation = plain_sampling(
            self.job.completion, self.job.samples, pad_id=self.processing_class.pad_token_id
        )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        job = self.job
        prompts = inputs["input_ids"][: job.pairs, : job.prompt]
        sequences = self._sample(prompts)
        loss: Tensor = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        policy_logps = self._score(model, sequences)
        with torch.no_grad():
            if self.ref_model is None:
                with self.accelerator.unwrap_model(self.model).disable_adapter():
                    reference_logps = self._score(model, sequences)
            else:
                reference_logps = self._score(self.ref_model, sequences)
        shape = (job.pairs, job.samples, -1)
        return loss + KL_COEF * sequence_kl_loss(policy_logps.view(shape), reference_logps.view(shape))

    @torch.no_grad()
    def _sample(self, prompts: Tensor) -> Tensor:
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        sequences: Tensor = model.generate(
            input_ids=prompts, attention_mask=torch.ones_like(prompts), generation_config=self.generation
        )
        model.train()
        if sequences.shape[1] != self.job.prompt + self.job.completion:
            raise RuntimeError(f"generate gave {sequences.shape[1]} tokens a row: times would lie.")
        return sequences

    def _score(self, model: Any, sequences: Tensor) -> Tensor:
        """Log-probabilities of the samples' tokens: [rows, completion]. The head skips prompt tokens."""
        length = self.job.completion
        logits = model(
            input_ids=sequences,
            attention_mask=torch.ones_like(sequences),
            use_cache=False,
            logits_to_keep=length + 1,
        ).logits[:, :-1]
        picked: Tensor = logits.float().log_softmax(dim=-1).gather(2, sequences[:, -length:, None]).squeeze(2)
        return picked


class _Clock(TrainerCallback):
    """Times the trainer's steps, excluding data loading."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._meter.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._meter.stop()


def _dataset(job: Job, size: int) -> Dataset:
    return Dataset.from_list(
        [
            {"prompt_ids": p.prompt, "chosen_ids": p.chosen, "rejected_ids": p.rejected}
            for p in pairs_of(job, steps=job.all_steps, vocabulary=size)
        ]
    )
