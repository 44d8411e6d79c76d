"""Measurements inside a child: seconds of each step, and memory."""

import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.jobs import WARMUP


def now() -> float:
    """Current time in seconds, after pending GPU work is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()


def resident_bytes() -> int:
    """Memory that this process holds now; on a GPU, the memory allocated there."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return _peak_resident()
    return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """Peak memory of this process."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _peak_resident()


def _peak_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Meter:
    """Times steps, except those of the warm-up."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._started = 0.0
        self._loaded: int | None = None

    def loaded(self, model: torch.nn.Module) -> None:
        """Record the memory after loading and before the first step. Only the first call has an effect.

        Reads all weights once, since only touched pages of a mapped file are in memory.
        """
        if self._loaded is None:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.sum()
            self._loaded = resident_bytes()

    def start(self) -> None:
        self._started = now()

    def stop(self) -> None:
        self._times.append(now() - self._started)

    def result(self, **more: Any) -> dict[str, Any]:
        """The result of every contender.

        Returns:
            ``seconds`` of each timed step; ``peak`` and ``loaded`` bytes, the latter before the first step.
        """
        return {"seconds": self._times[WARMUP:], "peak": peak_bytes(), "loaded": self._loaded, **more}
