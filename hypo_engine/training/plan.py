"""Which pairs an optimiser step sees: a pure function of (seed, step), so resuming needs no loader state."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from hypo_engine.seeds import derive_seed


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, size: int) -> tuple[int, ...]:
    """The order of ``size`` pairs in an epoch (0-based)."""
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    return tuple(torch.randperm(size, generator=generator).tolist())


@dataclass(frozen=True)
class Plan:
    """The pairs of every optimiser step. The last step of an epoch takes what is left.

    Attributes:
        size: Number of pairs.
        pairs_per_step: Pairs of one optimiser step.
        total_steps: Optimiser steps of the whole run.
    """

    size: int
    pairs_per_step: int
    total_steps: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.size / self.pairs_per_step)

    def first_steps(self, places: Sequence[int]) -> list[int]:
        """The steps of the first epoch that see these places, in order."""
        position = {place: at for at, place in enumerate(permutation(self.seed, 0, self.size))}
        return sorted({position[place] // self.pairs_per_step for place in places})

    def indices(self, step: int) -> list[int]:
        """Places of the pairs of a step (0-based)."""
        epoch, within = divmod(step, self.steps_per_epoch)
        start = within * self.pairs_per_step
        return list(permutation(self.seed, epoch, self.size)[start : start + self.pairs_per_step])


def deal(places: Sequence[int], work: Sequence[float], ranks: int) -> list[list[int]]:
    """Places dealt to processes so that work is even: the longest first, each to who has least to do.

    Nobody gets more than a full share, so that nobody needs more room than the others; with fewer places
    than processes some get none.

    Args:
        places: What is dealt.
        work: How much each of ``places`` is, in any unit.
    """
    full = math.ceil(len(places) / ranks)
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0.0] * ranks
    for load, place in sorted(zip(work, places, strict=True), key=lambda item: (-item[0], item[1])):
        rank = min((r for r in range(ranks) if len(shares[r]) < full), key=lambda r: (loads[r], r))
        shares[rank].append(place)
        loads[rank] += load
    return shares


def make_plan(size: int, *, pairs_per_step: int, max_steps: int, epochs: float, seed: int) -> Plan:
    """Count the optimiser steps: ``max_steps``, or the epochs where that is -1."""
    steps = max_steps if max_steps >= 0 else max(1, math.ceil(math.ceil(size / pairs_per_step) * epochs))
    return Plan(size, pairs_per_step, steps, seed)
