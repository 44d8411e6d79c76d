"""TRL's RLOOTrainer on a job's token ids. No sample ends before its length, as in ours."""

from typing import Any

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import RLOOConfig, RLOOTrainer

from benchmarks.jobs import Job, diversity, pairs_of
from benchmarks.meter import Meter
from benchmarks.ours import BETA, train_adapter_a_little, vocabulary
from benchmarks.trl_trainers import common


def _scores(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [diversity(ids) for ids in completion_ids]


class OnIds(RLOOTrainer):  # type: ignore[misc]
    """RLOOTrainer whose prompts are a job's token ids."""

    reference_seconds = 0.0

    def __init__(self, job: Job, folder: str, meter: Meter, **options: Any) -> None:
        self.job = job
        model = AutoModelForCausalLM.from_pretrained(job.model, dtype=common.dtype(job))
        ids = pairs_of(job, steps=job.all_steps, vocabulary=vocabulary(model))
        self._prompts = {str(number): pair.prompt for number, pair in enumerate(ids)}
        super().__init__(
            model=model,
            reward_funcs=_scores,
            args=RLOOConfig(
                per_device_train_batch_size=job.pairs * job.samples,
                num_generations=job.samples,
                max_completion_length=job.completion,
                beta=BETA,
                shuffle_dataset=False,
                **common.arguments(job, folder),
                **options,
            ),
            train_dataset=Dataset.from_list([{"prompt": name} for name in self._prompts]),
            processing_class=AutoTokenizer.from_pretrained(job.model),
            peft_config=common.lora(job),
            callbacks=[common.Clock(meter)],
        )
        self.eos_token_ids = [-1]  # no token, so that no sample is cut at an end token
        self.generation_config.eos_token_id = None
        self.generation_kwargs["eos_token_id"] = None
        self.accelerator.unwrap_model(self.model).generation_config.eos_token_id = None
        meter.loaded(self.model)
        train_adapter_a_little(self.model)

    def _tokenize_prompts(self, prompts: list[str]) -> Any:
        return [self._prompts[name] for name in prompts], None, {}

    def _generate_single_turn(self, *arguments: Any) -> list[list[int]]:
        found: list[list[int]] = super()._generate_single_turn(*arguments)
        if lengths := {len(ids) for ids in found} - {self.job.completion}:
            raise RuntimeError(f"generate gave samples of {lengths} tokens: times would lie.")
        return found
