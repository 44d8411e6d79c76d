"""The fields of TrainConfig that every method reads to train: optimiser, lengths, adapter, memory."""

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from hypo_engine.choices import Precision, PromptStyle, Scheduler, Sharding, Thinking
from hypo_engine.method_fields import COMPARING, MethodFields, group


class TrainingFields(MethodFields):
    """How a run trains, whatever it minimises."""

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
        validate_default=True,
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
        description="Data type of the base model's weights; auto is bfloat16 where that is faster (on a GPU, "
        "and with LoRA on a CPU with AMX) and float32 elsewhere. LoRA weights and the optimiser's state stay "
        "in float32, and so do activations on a CPU.",
        json_schema_extra=group("memory"),
    )
    load_in_4bit: bool = Field(
        False,
        title="4-bit base model",
        description="QLoRA: hold the frozen matrices of the base model's layers in 4 bits a weight (NF4), "
        "for models that do not fit otherwise. Needs LoRA and the package bitsandbytes.",
        json_schema_extra=group("memory"),
    )
    devices: int = Field(
        1,
        ge=1,
        le=64,
        title="Devices",
        description="Processes that train the run together on the worker's machine: one per GPU, or each "
        "with its share of the cores where there is no GPU. Each takes its batches of a step, so a step has "
        "this many times more pairs.",
        json_schema_extra=group("memory"),
    )
    sharding: Sharding = Field(
        Sharding.NONE,
        title="Sharding",
        description="fsdp splits the model's weights across the processes, for models that do not fit on "
        "one device; none gives each process the whole model.",
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

    @field_validator("load_in_4bit")
    @classmethod
    def _trains_an_adapter(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("lora_r") == 0:
            raise PydanticCustomError(
                "load_in_4bit", "needs lora_r of 1 or more, because 4-bit weights cannot be trained"
            )
        return value
