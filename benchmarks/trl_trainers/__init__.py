"""TRL's trainers on a job's token ids: as they come, tuned, and DPO's with HyPO's penalty added."""

import importlib
import tempfile
from typing import Any

from benchmarks.jobs import Job
from benchmarks.meter import Meter

_TRAINERS = {
    "preference": "benchmarks.trl_trainers.dpo:OnIds",
    "reward": "benchmarks.trl_trainers.reward:OnIds",
    "rloo": "benchmarks.trl_trainers.rloo:OnIds",
}


def as_it_comes(job: Job) -> dict[str, Any]:
    """Run TRL's defaults: checkpointing on; DPO scores the reference in every step."""
    return _run(job, _TRAINERS[job.trains])


def tuned(job: Job) -> dict[str, Any]:
    """Run without checkpointing; DPO scores the reference once."""
    once = {"precompute_ref_log_probs": True} if job.trains == "preference" else {}
    return _run(job, _TRAINERS[job.trains], gradient_checkpointing=False, **once)


def composed(job: Job) -> dict[str, Any]:
    """Run HyPO on the tuned DPO trainer."""
    trainer = "benchmarks.trl_trainers.hypo:Composed"
    return _run(job, trainer, gradient_checkpointing=False, precompute_ref_log_probs=True)


def _run(job: Job, trainer_class: str, **options: Any) -> dict[str, Any]:
    module, _, name = trainer_class.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter()
        trainer = getattr(importlib.import_module(module), name)(job, folder, meter, **options)
        trainer.train()
        return meter.result(reference_seconds=trainer.reference_seconds)
