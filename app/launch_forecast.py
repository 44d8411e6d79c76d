"""What the runs of a launch will take, told before they are queued: steps, memory and disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.disk_forecast import DiskForecast, forecast_disk
from app.estimates import MemoryForecast, forecast_memory
from app.launch_plan import Planned
from app.workload import workload
from hypo_engine.config import Method, TrainConfig
from hypo_engine.memory.estimate import Estimate


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What one run will take. `disk` is None where the model's sizes are unknown."""

    memory: MemoryForecast
    steps: int
    disk: DiskForecast | None


@dataclass(frozen=True, slots=True)
class LaunchForecast:
    """What the runs of a launch will take; `disk` is that of all runs whose sizes are known, if any are."""

    runs: list[RunForecast]
    disk: DiskForecast | None


def forecast_runs(configs: Sequence[TrainConfig], dataset_id: int) -> LaunchForecast:
    """The forecasts of runs on one dataset."""
    memory = [forecast_memory(config, dataset_id) for config in configs]
    steps = [workload(config, dataset_id).steps for config in configs]
    written = [_written(config, found, dataset_id) for config, found in zip(configs, memory, strict=True)]
    known = [
        [] if estimate is None else [(config, estimate, number)]
        for config, estimate, number in zip(configs, written, steps, strict=True)
    ]
    runs = [
        RunForecast(found, number, forecast_disk(one) if one else None)
        for found, number, one in zip(memory, steps, known, strict=True)
    ]
    whole = [one for each in known for one in each]
    return LaunchForecast(runs, forecast_disk(whole) if whole else None)


def _written(config: TrainConfig, found: MemoryForecast, dataset_id: int) -> Estimate | None:
    """The estimate of the tensors that a run writes; a reward model's 4-bit weights are written expanded."""
    if config.load_in_4bit and config.method is Method.REWARD:
        return forecast_memory(config.model_copy(update={"load_in_4bit": False}), dataset_id).estimate
    return found.estimate


def forecast_view(planned: Sequence[Planned], dataset_id: int) -> dict[str, Any]:
    """The forecast of planned runs as plain values, for the API and the command."""
    found = forecast_runs([one.config for one in planned], dataset_id)
    return {
        "runs": [_run_view(one, run) for one, run in zip(planned, found.runs, strict=True)],
        "disk": _disk_view(found.disk),
    }


def _run_view(planned: Planned, run: RunForecast) -> dict[str, Any]:
    memory = run.memory
    return {
        "title": planned.title,
        "method": planned.config.method.value,
        "steps": run.steps,
        "memory_bytes": memory.estimate.total if memory.estimate else None,
        "available_bytes": memory.available,
        "fits": memory.fits,
        "unknown": memory.missing,
        "disk": _disk_view(run.disk),
    }


def _disk_view(disk: DiskForecast | None) -> Mapping[str, int | bool | None] | None:
    if disk is None:
        return None
    return {
        "checkpoints": disk.checkpoints,
        "bytes": disk.size,
        "free_bytes": disk.free,
        "fits": disk.fits,
    }
