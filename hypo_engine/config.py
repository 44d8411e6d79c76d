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

from hypo_engine.choices import KLEstimator as KLEstimator
from hypo_engine.choices import LossType as LossType
from hypo_engine.choices import Method as Method
from hypo_engine.choices import Need as Need
from hypo_engine.choices import Precision as Precision
from hypo_engine.choices import PromptStyle as PromptStyle
from hypo_engine.choices import Scheduler as Scheduler
from hypo_engine.choices import Sharding as Sharding
from hypo_engine.choices import Thinking as Thinking
from hypo_engine.errors import ConfigError
from hypo_engine.field_text import complaint, label
from hypo_engine.method_fields import COMPARING, SAMPLING, WRITING, MethodFields, group


class TrainConfig(MethodFields):
    """Everything that determines a run, except the data."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_enum_values=False, protected_namespaces=(), str_strip_whitespace=True
    )

    learning_rate: float = Field(
        1e-4,
        gt=0,
        le=1,
        title="Learning rate",
        description="Peak learning rate: about 1e-4 for LoRA, 3e-6 for full fine-tuning.",
        json_schema_extra=group("front"),
    )
    max_steps: int = Field(
        -1,
        ge=-1,
        le=10_000_000,
        title="Steps",
        description="Optimiser steps; -1 trains for a number of epochs instead.",
        json_schema_extra=group("front"),
    )
    num_train_epochs: float = Field(
        1.0,
        gt=0,
        le=1000,
        title="Epochs",
        description="Passes over the pairs. Used when Steps is -1.",
        json_schema_extra=group("front"),
    )
    per_device_train_batch_size: int = Field(
        4,
        ge=1,
        le=4096,
        title="Batch size",
        description="Pairs in one forward and backward pass.",
        json_schema_extra=group("front"),
    )
    lora_r: int = Field(
        16,
        ge=0,
        le=1024,
        title="LoRA rank",
        description="Rank of the LoRA adapter; 0 trains every weight of the model.",
        json_schema_extra=group("front"),
    )
    max_prompt_length: int = Field(
        512,
        ge=1,
        le=131_072,
        title="Prompt tokens",
        description="Longer prompts are cut on the left; the run reports how many.",
        json_schema_extra=group("lengths"),
    )
    max_completion_length: int = Field(
        256,
        ge=1,
        le=131_072,
        title="Completion tokens",
        description="Limit for samples and stored answers; pairs with a longer answer are left out.",
        json_schema_extra=group("lengths"),
    )
    prompt_style: PromptStyle = Field(
        PromptStyle.AUTO,
        title="Prompt style",
        description="auto: conversations use the tokenizer's chat template where it has one, and plain "
        "prompts stay as they are; Compare also asks this way. chat: plain prompts become a user turn. "
        "plain: conversations become plain text, as they do without a template: a single question as it is, "
        "several turns under the names of their roles.",
        json_schema_extra=group("lengths"),
    )
    enable_thinking: Thinking = Field(
        Thinking.AUTO,
        title="Thinking",
        description="Whether the model may think before it answers, if its chat template opens a thought. "
        "off: the thought is closed before the answer. auto: off, unless most answers of the pairs contain "
        "thoughts.",
        json_schema_extra=group("lengths"),
    )
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        le=4096,
        title="Accumulation",
        description="Batches whose gradients are combined into one optimiser step.",
        json_schema_extra=group("optimiser"),
    )
    lr_scheduler_type: Scheduler = Field(
        Scheduler.LINEAR,
        title="Schedule",
        description="How the learning rate changes after the warm-up.",
        json_schema_extra=group("optimiser"),
    )
    warmup_ratio: float = Field(
        0.1,
        ge=0,
        le=1,
        title="Warm-up",
        description="Share of the steps during which the learning rate rises from zero.",
        json_schema_extra=group("optimiser"),
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Weight decay",
        description="AdamW's decoupled weight decay.",
        json_schema_extra=group("optimiser"),
    )
    max_grad_norm: float = Field(
        1.0,
        gt=0,
        le=1e6,
        title="Gradient clipping",
        description="Largest gradient norm; larger gradients are scaled down to it.",
        json_schema_extra=group("optimiser"),
    )
    lora_alpha: int = Field(
        32,
        ge=1,
        le=4096,
        title="LoRA alpha",
        description="Scale of the adapter's update: alpha / rank.",
        json_schema_extra=group("adapter"),
    )
    lora_target_modules: str = Field(
        "all-linear",
        min_length=1,
        max_length=2000,
        title="LoRA modules",
        description="`all-linear`, or module names separated by commas. The output head is never adapted.",
        json_schema_extra=group("adapter"),
    )
    precompute_ref_log_probs: bool = Field(
        True,
        title="Cache the reference",
        description="Compute the reference's log-probabilities once and share them between runs.",
        json_schema_extra=group("memory", *COMPARING),
    )
    precision: Precision = Field(
        Precision.AUTO,
        title="Precision",
        description="Data type of the base model's weights; auto is bfloat16 on a GPU and float32 on a CPU. "
        "LoRA weights and the optimiser's state stay in float32.",
        json_schema_extra=group("memory"),
    )
    sharding: Sharding = Field(
        Sharding.NONE,
        title="Sharding",
        description="fsdp splits the model's weights across the processes that torchrun starts, for models "
        "that do not fit on one device; none gives each process the whole model.",
        json_schema_extra=group("memory"),
    )
    gradient_checkpointing: bool = Field(
        False,
        title="Gradient checkpointing",
        description="Recompute activations in the backward pass: less memory, 1.6 times the time on a CPU.",
        json_schema_extra=group("memory"),
    )
    insist: bool = Field(
        False,
        title="Run anyway",
        description="Start the run even if memory seems short.",
        json_schema_extra=group("memory"),
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

    @field_validator("sharding")
    @classmethod
    def _shards_no_head(cls, value: Sharding, info: ValidationInfo) -> Sharding:
        method = info.data.get("method")
        if value is Sharding.NONE or method is None:
            return value
        if not method.writes:
            raise PydanticCustomError("sharding", "cannot shard a reward model yet; set it to none")
        if Need.VALUES in method.needs:
            raise PydanticCustomError("sharding", "cannot shard PPO's value head yet; set it to none")
        return value

    @property
    def pairs_per_step(self) -> int:
        """Pairs in one optimiser step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

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
