"""Time forecasts for a run, from the step times of earlier runs of the same model on the same device.

Training time is proportional to the tokens that a step reads. Sampling time is proportional to the length of
the responses and to the square root of the number of rows, as a batch reads the weights once: 16 rows take
1.3 times as long as 8 on a CPU (docs/performance.md). Time outside steps (loading, evaluations, checkpoints)
is proportional to the number of evaluations.
"""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.i18n import N_
from app.store import starts, timings, workers
from app.store.db import read_session
from app.store.timings import Measured
from app.workload import Workload
from hypo_engine.config import Method, TrainConfig

_SAME = ("precision", "load_in_4bit", "gradient_checkpointing", "num_ppo_epochs")
"""Settings that affect the step time and must match, as the forecast does not scale for them."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A run's expected time and the run it is based on."""

    title: str
    seconds: float
    run_id: int
    device: str


def forecast(config: TrainConfig, work: Workload) -> Forecast | None:
    """The expected time of a run; None if no similar run was measured on the workers' device."""
    with read_session() as session:
        found = _like(config, session=session)
        if found is None:
            return None
        old = found.run.config
        seconds = work.steps * _step_seconds(found, config, work)
        beside = timings.seconds_beside_steps(found)
        if beside is not None:
            seconds += (
                beside
                * _evaluations(config.eval_steps, work.steps)
                / _evaluations(int(old.get("eval_steps", 0)), found.run.step)
            )
        return Forecast(
            Method(found.run.method).label, seconds, found.run.id, found.run.device or N_("this machine")
        )


def _like(config: TrainConfig, *, session: Session) -> Measured | None:
    """The newest comparable run: same model, method, device and kind of adapter."""
    present = workers.present(session=session, queue="train")
    device = present[0].device if present else None
    wanted, usual = config.model_dump(mode="json"), TrainConfig().model_dump(mode="json")
    name = config.model_name_or_path
    for run in timings.latest(
        session=session,
        models=(name, starts.bottom(name, session=session)),  # a run's model costs what its base model costs
        method=config.method.value,
        device=device,
    ):
        names = (*_SAME, "rollout") if config.samples_online else _SAME
        alike = all(run.config.get(name, usual[name]) == wanted[name] for name in names)
        if not alike or bool(run.config.get("lora_r")) != bool(config.lora_r) or not run.device:
            continue
        found = timings.measured(run, session=session)
        if found is not None and "step_time" in found.means:
            return found
    return None


def _step_seconds(found: Measured, config: TrainConfig, work: Workload) -> float:
    """Expected seconds per step of the new run."""
    means, old = found.means, TrainConfig.model_validate(_known(found.run.config))
    training = means.get("time/training", means["step_time"])
    length = means.get("completions/mean_length", 0.0)
    before = found.num_tokens / found.last + old.pairs_per_step * old.num_generations * length
    new_length = _length(length, old, config)
    pairs = min(work.a_step, work.pairs)
    per_pair = None
    if work.lengths is not None:
        per_pair = work.lengths.tokens_per_pair(config.max_prompt_length, config.max_completion_length)
    if per_pair is None:
        per_pair = found.num_tokens / found.last / old.pairs_per_step
    after = pairs * per_pair + pairs * config.num_generations * new_length
    if before > 0 and after > 0:
        training *= after / before
    sampling = means.get("time/sampling", 0.0)
    if sampling and length:
        rows = config.per_device_train_batch_size * config.num_generations
        old_rows = old.per_device_train_batch_size * old.num_generations
        sampling *= new_length / length * math.sqrt(rows / old_rows)
        sampling *= config.gradient_accumulation_steps / old.gradient_accumulation_steps
    return training + sampling


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration without fields unknown to this version."""
    return {name: value for name, value in values.items() if name in TrainConfig.model_fields}


def _length(measured: float, old: TrainConfig, new: TrainConfig) -> float:
    """Expected tokens per response. Responses near the old limit are assumed to scale with the new one."""
    if measured > 0.8 * old.max_completion_length:
        return measured * new.max_completion_length / old.max_completion_length
    return min(measured, new.max_completion_length)


def _evaluations(every: int, steps: int) -> int:
    """Number of evaluations of a run: at its start, at its end and between."""
    return 2 + (max(0, steps - 1) // every if every else 0)
