"""Memory estimates for a run before it is queued, without torch or network.

Sizes come from the model's config.json, if it is on this machine, and lengths from the dataset's character
counts. Free memory is considered only if the workers of this machine's own `hypo up` will train.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from app.errors import NotFound, Refused
from app.local.running import read_running
from app.local_models import find_file
from app.settings import Settings, get_settings
from app.store import datasets, runs, workers
from app.store.db import read_session
from app.store.enums import RunStatus
from hypo_engine.config import TrainConfig
from hypo_engine.errors import ModelError
from hypo_engine.memory.estimate import Estimate, PairLength, estimate_memory
from hypo_engine.memory.knobs import Knob, helpful_knobs, refusal
from hypo_engine.memory.machine import available_bytes, has_amx, whole_memory
from hypo_engine.memory.shape import ModelShape, read_shape

CHARACTERS_A_TOKEN: Final = 3
"""Characters per token. English text has about four; a lower value overestimates on purpose."""

TEMPLATE_TOKENS: Final = 32
"""Approximate number of tokens that a chat template adds to a prompt."""

LONGEST: Final = 4096
"""Longest pairs considered: as many as the largest batch holds."""

INSIST: Final = "tick Run anyway, pass --insist, or set insist to true"


@dataclass(frozen=True, slots=True)
class MemoryForecast:
    """The expected memory use of a run.

    Attributes:
        estimate: None where the model's sizes are unknown; `missing` gives the reason.
        available: Bytes available to the run; None if it trains on another machine or the size is unknown.
        waits: Whether other runs go first. `available` is then the machine's whole memory.
        gpu: Whether the workers compute on a GPU.
        knobs: The most effective changes for a run that does not fit.
    """

    estimate: Estimate | None
    missing: str = ""
    available: int | None = None
    waits: bool = False
    gpu: bool = False
    knobs: tuple[Knob, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the run fits, as far as known."""
        if self.estimate is None or self.available is None:
            return True
        return self.estimate.total <= self.available


def forecast_memory(config: TrainConfig, dataset_id: int | None) -> MemoryForecast:
    """The memory forecast of a run with this configuration on this dataset."""
    settings = get_settings()
    path = find_config(config.model_name_or_path, settings)
    if path is None:
        return MemoryForecast(
            None,
            "The memory estimate appears once the model is on this machine; the first run downloads it.",
        )
    try:
        shape = _read_shape(path)
    except ModelError as error:
        return MemoryForecast(None, str(error))
    gpu, available, waits = _machine(settings)
    if available is not None:
        available //= config.devices  # without a GPU all processes of the run share the memory
    lengths = None if dataset_id is None else _lengths_of(dataset_id, settings)
    amx = available is not None and has_amx()  # of another machine's processor nothing is known
    estimate = estimate_memory(shape, config, lengths, gpu=gpu, amx=amx)
    knobs: Sequence[Knob] = ()
    if available is not None and estimate.total > available:
        knobs = helpful_knobs(shape, config, lengths, available=available, gpu=gpu, amx=amx)
    return MemoryForecast(estimate, "", available, waits, gpu, tuple(knobs))


def refuse_what_cannot_fit(configs: Sequence[TrainConfig], dataset_id: int) -> None:
    """Refuse runs that need more memory than this machine's workers have, unless the configuration insists.

    Raises:
        Refused: with the estimate, the available memory and the most effective changes.
    """
    for config in configs:
        if config.insist:
            continue
        forecast = forecast_memory(config, dataset_id)
        if not forecast.fits and forecast.estimate is not None and forecast.available is not None:
            raise Refused(refusal(forecast.estimate, forecast.available, forecast.knobs, insist=INSIST))


def find_config(name: str, settings: Settings) -> Path | None:
    """The config.json of a base model, if it is on this machine."""
    return find_file(name, "config.json", settings)


def _read_shape(path: Path) -> ModelShape:
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("The model's config.json cannot be read, so there is no estimate.") from error
    if not isinstance(values, dict):
        raise ModelError("The model's config.json cannot be read, so there is no estimate.")
    return read_shape(values)


def _lengths_of(dataset_id: int, settings: Settings) -> tuple[PairLength, ...] | None:
    """Tokens of a dataset's longest pairs, estimated from characters; None if the dataset does not exist."""
    try:
        with read_session() as session:
            made = datasets.get(dataset_id, session=session).created_at
    except NotFound:
        return None
    return _lengths(settings.sqlalchemy_url, dataset_id, made)


@lru_cache(maxsize=64)
def _lengths(database: str, dataset_id: int, made: datetime) -> tuple[PairLength, ...]:
    """Cached, as datasets are immutable. ``database`` and ``made`` distinguish datasets with the same id."""
    with read_session() as session:
        found = datasets.longest_pairs(dataset_id, session=session, limit=LONGEST)
    return tuple(
        PairLength(_tokens(prompt) + TEMPLATE_TOKENS, _tokens(chosen) + 1, _tokens(rejected) + 1)
        for prompt, chosen, rejected in found
    )


def _tokens(characters: int) -> int:
    return math.ceil(characters / CHARACTERS_A_TOKEN)


def _machine(settings: Settings) -> tuple[bool, int | None, bool]:
    """Whether the workers have a GPU, the bytes available to a run here, and whether it waits for others."""
    with read_session() as session:
        gpu = workers.any_gpu(session=session, queue="train")
        counts = runs.count_by_status(session=session)
    waits = bool(counts.get(RunStatus.RUNNING, 0) + counts.get(RunStatus.QUEUED, 0))
    if gpu or not has_own_workers(settings):
        return gpu, None, waits
    return gpu, whole_memory() if waits else available_bytes(), waits


def has_own_workers(settings: Settings) -> bool:
    """Whether `hypo up` runs the workers on this machine."""
    running = read_running(settings)
    return running is not None and "broker" in running.children
