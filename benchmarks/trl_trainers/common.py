"""What TRL's trainers have in common here: precision, adapter, arguments, and a clock for their steps."""

from typing import Any

import torch
from peft import LoraConfig
from transformers import TrainerCallback

from benchmarks.jobs import Job, learning_rate
from benchmarks.meter import Meter
from benchmarks.ours import CLIP, LORA_ALPHA, LORA_RANK


def dtype(job: Job) -> torch.dtype:
    """The precision of the weights."""
    return torch.bfloat16 if job.precision == "bfloat16" and job.tuning == "lora" else torch.float32


def lora(job: Job, *, task: str = "CAUSAL_LM") -> LoraConfig | None:
    """The adapter; None for full fine-tuning."""
    if job.tuning == "full":
        return None
    return LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear", task_type=task)


def arguments(job: Job, folder: str) -> dict[str, Any]:
    """Arguments that every trainer takes."""
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": folder,
        "max_steps": job.all_steps,
        "learning_rate": learning_rate(job.tuning),
        "lr_scheduler_type": "constant",
        "max_grad_norm": CLIP,
        "optim": "adamw_torch_fused",
        "bf16": job.precision == "bfloat16",
        "use_cpu": not on_gpu,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }


class Clock(TrainerCallback):
    """Times a trainer's steps, excluding data loading."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._meter.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._meter.stop()
