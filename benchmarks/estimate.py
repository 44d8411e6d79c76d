"""The engine's estimate of a step's memory."""

import json
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job
from benchmarks.ours import configuration
from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.memory.estimate import PairLength, estimate_memory
from hypo_engine.memory.shape import read_shape
from hypo_engine.models.load import default_device


def estimate(job: Job) -> dict[str, Any]:
    """The estimated ``peak`` of a job's step in bytes, and its ``parts``."""
    shape = read_shape(json.loads((Path(job.model) / "config.json").read_text(encoding="utf-8")))
    lengths = [PairLength(job.prompt, job.completion, job.completion)] * job.pairs
    on_gpu = default_device().type == "cuda"
    found = estimate_memory(shape, configuration(job), lengths, gpu=on_gpu, amx=is_fast())
    return {"peak": found.total, "parts": found.parts()}
