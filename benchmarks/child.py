"""The child process: reads a job from its folder, measures, and writes the result to the same folder."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job
from benchmarks.without import switch_off

MEASURES = {
    "device": "benchmarks.rates:device",
    "rates": "benchmarks.rates:rates",
    "ours": "benchmarks.ours:steps",
    "trl": "benchmarks.trl_trainers:as_it_comes",
    "trl_tuned": "benchmarks.trl_trainers:tuned",
    "composed": "benchmarks.trl_trainers:composed",
    "logps": "benchmarks.ours:logps",
    "trl_logps": "benchmarks.trl_trainers.dpo:logps",
    "rewards": "benchmarks.ours:rewards",
    "trl_rewards": "benchmarks.trl_trainers.reward:rewards",
    "decode": "benchmarks.decode:decode",
    "draws": "benchmarks.draws:draws",
    "accuracy": "benchmarks.accuracy:accuracy",
    "estimate": "benchmarks.estimate:estimate",
    "random_llama": "benchmarks.llamas:write",
}
"""Measurements by name. Each is a function from a Job to JSON-serializable values."""


def main(folder: Path) -> None:
    """Run the job in ``folder``."""
    _offer_ourselves()
    job = Job(**json.loads((folder / "job.json").read_text(encoding="utf-8")))
    module, _, name = MEASURES[job.measure].partition(":")
    import torch

    if job.threads:
        torch.set_num_threads(job.threads)
    if job.without:
        switch_off(job.without)
    measure: Callable[[Job], dict[str, Any]] = getattr(importlib.import_module(module), name)
    try:
        result = measure(job)
    except (MemoryError, torch.OutOfMemoryError):
        result = {"out_of_memory": True}
    except RuntimeError as error:  # torch raises this when CPU memory is exhausted
        if "allocate memory" not in str(error):
            raise
        result = {"out_of_memory": True}
    temporary = folder / "result.tmp"
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.rename(folder / "result.json")


def _offer_ourselves() -> None:
    """Make the kernel kill this process first when memory runs out."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
