"""TrainConfig: the one schema of the launch form, YAML, the command line and the API. No torch here.

Names follow TRL where TRL has one. Each field carries its help text and bounds; the form, the
documentation and the error messages use them. ``json_schema_extra["group"]`` says where the form shows
the field: ``front``, or a section of Advanced; ``"methods"`` lists the methods that read it, if not all do.
"""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from hypo_engine.choices import BestMetric as BestMetric
from hypo_engine.choices import KLEstimator as KLEstimator
from hypo_engine.choices import LossType as LossType
from hypo_engine.choices import Method as Method
from hypo_engine.choices import Need as Need
from hypo_engine.choices import Precision as Precision
from hypo_engine.choices import PromptStyle as PromptStyle
from hypo_engine.choices import RolloutEngine as RolloutEngine
from hypo_engine.choices import Scheduler as Scheduler
from hypo_engine.choices import Sharding as Sharding
from hypo_engine.choices import Thinking as Thinking
from hypo_engine.errors import ConfigError
from hypo_engine.field_text import complaint, label
from hypo_engine.method_fields import SAMPLING, WRITING, group
from hypo_engine.training_fields import TrainingFields


class TrainConfig(TrainingFields):
    """Everything that determines a run, except the data."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_enum_values=False, protected_namespaces=(), str_strip_whitespace=True
    )

    logging_steps: int = Field(
        1,
        ge=1,
        le=100_000,
        title="Log every",
        description="Optimiser steps between two points on the charts.",
        json_schema_extra=group("watching"),
    )
    eval_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="Evaluate every",
        description="Optimiser steps between evaluations on held-out pairs; 0: only at start and end.",
        json_schema_extra=group("watching"),
    )
    eval_pairs: int = Field(
        32,
        ge=0,
        le=100_000,
        title="Evaluation pairs",
        description="Held-out pairs in each evaluation; 0 uses none.",
        json_schema_extra=group("watching"),
    )
    eval_prompts: int = Field(
        16,
        ge=0,
        le=10_000,
        title="KL prompts",
        description="Held-out prompts for the KL estimate of each evaluation; 0 uses none.",
        json_schema_extra=group("watching"),
    )
    stop_at_kl: float = Field(
        0.0,
        ge=0,
        le=1e6,
        title="Stop at KL",
        description="End the run once an evaluation's sampled KL is above this number of nats a response; 0 "
        "trains all steps.",
        json_schema_extra=group("watching", *WRITING),
    )
    stop_at_tokens: int = Field(
        0,
        ge=0,
        le=10**15,
        title="Stop at tokens",
        description="End the run once it has trained on this many tokens, sampled ones included; 0 trains "
        "all steps. The learning rate's schedule still spans all steps.",
        json_schema_extra=group("watching"),
    )
    stop_at_samples: int = Field(
        0,
        ge=0,
        le=10**12,
        title="Stop at samples",
        description="End the run once it has sampled this many responses to train on; 0 trains all steps.",
        json_schema_extra=group("watching", *SAMPLING),
    )
    stop_at_seconds: float = Field(
        0.0,
        ge=0,
        le=1e9,
        title="Stop at seconds",
        description="End the run once its steps have taken this long, not counting evaluations; 0 trains all "
        "steps.",
        json_schema_extra=group("watching"),
    )
    probe_prompts: int = Field(
        2,
        ge=0,
        le=32,
        title="Probe prompts",
        description="Fixed held-out prompts that each evaluation answers, so that you can read the change.",
        json_schema_extra=group("watching"),
    )
    save_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="Checkpoint every",
        description="Optimiser steps between checkpoints; 0 keeps only the last two.",
        json_schema_extra=group("watching"),
    )
    save_total_limit: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="Checkpoints kept",
        description="With Checkpoint every, keep only this many of the last checkpoints; 0 keeps all.",
        json_schema_extra=group("watching"),
    )
    metric_for_best_model: BestMetric = Field(
        BestMetric.NONE,
        title="Keep the best by",
        description="Besides the last checkpoints, keep that of the evaluation with the highest value of "
        "this held-out metric: the accuracy on held-out pairs, or the score of held-out samples, unless the "
        "method maximises that score.",
        json_schema_extra=group("watching"),
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Determines the order of the data, the adapter's initial weights and every sample.",
        json_schema_extra=group("watching"),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation in (int, float):
            raise PydanticCustomError("int_type", "must be a number")
        return value

    @field_validator("stop_at_kl")
    @classmethod
    def _measures_what_stops_it(cls, value: float, info: ValidationInfo) -> float:
        for name in ("eval_steps", "eval_prompts"):
            if value and not info.data.get(name, 1):
                raise PydanticCustomError("stop_at_kl", f"needs {name} of 1 or more, to measure the KL")
        return value

    @field_validator("metric_for_best_model")
    @classmethod
    def _measures_what_is_best(cls, value: BestMetric, info: ValidationInfo) -> BestMetric:
        method, reward = info.data.get("method"), info.data.get("reward")
        counted = {BestMetric.ACCURACY: "eval_pairs", BestMetric.SCORE: "eval_prompts"}.get(value)
        for name in ("eval_steps", counted) if counted else ():
            if not info.data.get(name, 1):
                raise PydanticCustomError("best_model", "needs {name} of 1 or more", {"name": name})
        if value is BestMetric.ACCURACY and method is not None and not method.judges_pairs:
            raise PydanticCustomError(
                "best_model",
                "must be none or eval_objective/scores for {method}, which has no accuracy on pairs",
                {"method": method.label},
            )
        if value is BestMetric.SCORE and method is not None:
            if Need.SCORES in method.needs:
                raise PydanticCustomError(
                    "best_model",
                    "must be a metric that {method} does not maximise; use eval_rewards/accuracies",
                    {"method": method.label},
                )
            if not reward:
                raise PydanticCustomError("best_model", "needs a reward, which scores the samples")
        return value

    @field_validator("max_steps")
    @classmethod
    def _outlasts_the_warmup(cls, value: int, info: ValidationInfo) -> int:
        method, warmup = info.data.get("method"), info.data.get("critic_warmup", 0)
        if method is not None and Need.VALUES in method.needs and 0 < value <= warmup:
            raise PydanticCustomError(
                "max_steps",
                "must be more than critic_warmup, {warmup}: until then the policy stays as it is",
                {"warmup": warmup},
            )
        return value

    @field_validator("devices")
    @classmethod
    def _samples_in_one_process(cls, value: int, info: ValidationInfo) -> int:
        method, vllm = info.data.get("method"), info.data.get("rollout") is RolloutEngine.VLLM
        if value > 1 and vllm and method is not None and Need.SAMPLES in method.needs:
            raise PydanticCustomError(
                "devices",
                "must be 1 when vLLM samples, in a single process so far; or set rollout to engine",
            )
        return value

    @field_validator("sharding")
    @classmethod
    def _shards_no_head(cls, value: Sharding, info: ValidationInfo) -> Sharding:
        method = info.data.get("method")
        if value is Sharding.NONE or method is None:
            return value
        if info.data.get("rollout") is RolloutEngine.VLLM and Need.SAMPLES in method.needs:
            raise PydanticCustomError(
                "sharding",
                "cannot shard a model that vLLM samples from yet; set it to none, or rollout to engine",
            )
        if info.data.get("load_in_4bit"):
            raise PydanticCustomError("sharding", "cannot shard 4-bit weights yet; set it to none")
        if not method.writes:
            raise PydanticCustomError("sharding", "cannot shard a reward model yet; set it to none")
        if Need.VALUES in method.needs:
            raise PydanticCustomError("sharding", "cannot shard PPO's value head yet; set it to none")
        if Need.MISMATCHED in method.needs:
            raise PydanticCustomError("sharding", "cannot shard KTO yet; set it to none")
        return value

    @field_validator("gradient_accumulation_steps")
    @classmethod
    def _has_other_prompts(cls, value: int, info: ValidationInfo) -> int:
        method, size = info.data.get("method"), info.data.get("per_device_train_batch_size", 2)
        if method is not None and Need.MISMATCHED in method.needs and value * size < 2:
            raise PydanticCustomError(
                "gradient_accumulation_steps",
                "times the batch size must be 2 or more for {method}, which compares a step's prompts",
                {"method": method.label},
            )
        return value

    @property
    def pairs_per_device(self) -> int:
        """Pairs of one process in one optimiser step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def pairs_per_step(self) -> int:
        """Pairs in one optimiser step."""
        return self.pairs_per_device * self.devices

    @property
    def checkpoints_kept(self) -> int | None:
        """How many of its last checkpoints a run keeps while it trains; None is all of them."""
        return (self.save_total_limit or None) if self.save_steps else 2

    def tokens_read(self, prompt: int, chosen: int, rejected: int) -> int:
        """Tokens of a pair that a step reads, with the prompt counted once."""
        return prompt + sum(self.answers_read(chosen, rejected))

    def answers_read(self, chosen: int, rejected: int) -> tuple[int, int]:
        """The lengths of a pair's answers, with 0 for an answer that a step does not read."""
        both = Need.REWARDS in self.needs
        return (
            chosen if both or Need.CHOSEN in self.needs else 0,
            rejected if both or Need.REJECTED in self.needs else 0,
        )

    def to_yaml(self) -> str:
        """The configuration as YAML, with every field."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def applies(name: str, method: Method) -> bool:
    """Whether a method reads a field."""
    extra: Any = TrainConfig.model_fields[name].json_schema_extra
    return not extra["methods"] or method.value in extra["methods"]


def field_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with raw values, by field, phrased to follow its name: `must be a number, not x`."""
    try:
        TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        return {str(e["loc"][0]) if e["loc"] else "config": _problem(e) for e in error.errors()}
    return {}


def _problem(error: Any) -> str:
    field = TrainConfig.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    if error["type"] == "extra_forbidden":
        return "is not an option; `hypo runs launch --help` lists the names"
    return str(error["msg"]) if field is None else complaint(field, error)


def field_errors(values: Mapping[str, Any]) -> dict[str, str]:
    """Check raw values against the schema.

    Returns:
        One sentence per invalid field, keyed by the field's name; empty if all values are valid.
    """
    fields = TrainConfig.model_fields
    return {
        name: f"{label(name, fields[name]) if name in fields else name} {problem}."
        for name, problem in field_problems(values).items()
    }


def parse_config(values: Mapping[str, Any]) -> TrainConfig:
    """Build a TrainConfig from raw values.

    Raises:
        ConfigError: names every invalid field, its value and the violated bound.
    """
    errors = field_errors(values)
    if errors:
        raise ConfigError(" ".join(errors.values()))
    return TrainConfig.model_validate(dict(values))
