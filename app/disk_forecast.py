"""The disk space that a launch's checkpoints take, told before they are written."""

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings, get_settings
from hypo_engine.config import BestMetric, Method, TrainConfig
from hypo_engine.memory.estimate import Estimate


@dataclass(frozen=True, slots=True)
class DiskForecast:
    """The checkpoints that a launch's runs leave.

    Attributes:
        checkpoints: Their number.
        size: Their bytes.
        free: Bytes free where they are stored; None in an object store.
    """

    checkpoints: int
    size: int
    free: int | None

    @property
    def fits(self) -> bool:
        return self.free is None or self.size <= self.free


def forecast_disk(runs: Iterable[tuple[TrainConfig, Estimate, int]]) -> DiskForecast:
    """The forecast for runs with their memory estimates and, if they have `save_steps`, numbers of steps."""
    settings = get_settings()
    numbers, sizes = [0], [0]
    for config, estimate, steps in runs:
        kept = checkpoints_left(config, steps)
        numbers.append(kept)
        sizes.append(_size(config, estimate, kept, settings.resumable_checkpoints))
    return DiskForecast(sum(numbers), sum(sizes), _free(settings))


def checkpoints_left(config: TrainConfig, steps: int) -> int:
    """How many checkpoints a run has when it has ended."""
    best = int(config.metric_for_best_model is not BestMetric.NONE)
    if not config.save_steps:
        return 1 + best
    written = max(1, math.ceil(steps / config.save_steps))
    return min(written, config.save_total_limit or written) + best


def _size(config: TrainConfig, estimate: Estimate, kept: int, resumable: int) -> int:
    """Bytes of a run's checkpoints: all have weights, the last ones the optimiser's state too.

    The trained weights are as large as their gradients, both in float32. A reward model's last checkpoint
    has the whole model besides.
    """
    whole = estimate.weights if config.method is Method.REWARD and config.lora_r else 0
    return kept * estimate.gradients + min(kept, resumable) * estimate.optimiser + whole


def _free(settings: Settings) -> int | None:
    if "://" in settings.artifacts:
        return None
    folder = Path(settings.artifacts)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
