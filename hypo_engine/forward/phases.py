"""The time of a step by named phases, measured only inside :func:`measured`.

Outside it, ``with phase("prefix"):`` has almost no overhead. Inside, the seconds of every phase are
summed, without those of nested phases. A phase that is ``whole`` includes its nested phases, for example
the reference's prefix and completions.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter

import torch


@dataclass
class Phases:
    """Seconds by phase; ``total`` is their sum."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inside: list[float] = field(default_factory=list)
    _whole: bool = False

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


_ACTIVE: ContextVar[Phases | None] = ContextVar("phases", default=None)


@contextmanager
def measured() -> Iterator[Phases]:
    """Measure the phases in the block; a GPU is synchronized at their boundaries."""
    phases = Phases()
    token = _ACTIVE.set(phases)
    try:
        yield phases
    finally:
        _ACTIVE.reset(token)


@contextmanager
def phase(name: str, *, whole: bool = False) -> Iterator[None]:
    """Name the phase of the block, for example prefix, completions, head or backward."""
    phases = _ACTIVE.get()
    if phases is None or phases._whole:
        yield
        return
    started = _now()
    phases._inside.append(0.0)
    phases._whole = whole
    try:
        yield
    finally:
        phases._whole = False
        seconds = _now() - started
        phases.seconds[name] += seconds - phases._inside.pop()
        if phases._inside:
            phases._inside[-1] += seconds


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()
