"""HyPO composed on TRL's DPOTrainer, as a user of TRL and transformers would write it.

``generate`` with its key-value cache, one scoring pass of the samples with gradient, and one of the reference
without.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchmarks.decode import plain_sampling
from benchmarks.jobs import Job
from benchmarks.trl_trainers.dpo import OnIds
from hypo_engine.methods.losses import sequence_kl_loss

KL_COEF = 1e-3


class Composed(OnIds):
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
