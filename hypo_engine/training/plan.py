"""The pairs of each optimiser step, as a pure function of (seed, step), so resuming needs no loader state.

Pairs are identified by their *pair index*, the index among the run's tokenised pairs.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from hypo_engine.seeds import derive_seed


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, size: int) -> "array[int]":
    """The order of ``size`` pair indices in an epoch (0-based)."""
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    return array("q", torch.randperm(size, generator=generator).tolist())


@dataclass(frozen=True)
class Plan:
    """The pairs of every optimiser step; the last step of an epoch may be smaller.

    Attributes:
        size: Number of pairs.
        pairs_per_step: Pairs per optimiser step.
        total_steps: Optimiser steps of the whole run.
    """

    size: int
    pairs_per_step: int
    total_steps: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.size / self.pairs_per_step)

    def first_steps(self, pair_indices: Sequence[int]) -> list[int]:
        """The steps of the first epoch that contain these pairs, in order."""
        wanted, order = set(pair_indices), permutation(self.seed, 0, self.size)
        return sorted({at // self.pairs_per_step for at, index in enumerate(order) if index in wanted})

    def pair_indices(self, step: int) -> list[int]:
        """Indices of a step's pairs (0-based step)."""
        epoch, within = divmod(step, self.steps_per_epoch)
        start = within * self.pairs_per_step
        return permutation(self.seed, epoch, self.size)[start : start + self.pairs_per_step].tolist()


def deal(pair_indices: Sequence[int], work: Sequence[float], ranks: int) -> list[list[int]]:
    """Balance pairs over processes greedily: longest first, each to the least loaded process.

    No process gets more than a full share of pairs, so that none needs more memory than the others. With
    fewer pairs than processes, some get none.

    Args:
        work: The cost of each pair, in any unit.
    """
    full = math.ceil(len(pair_indices) / ranks)
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0.0] * ranks
    for load, index in sorted(zip(work, pair_indices, strict=True), key=lambda item: (-item[0], item[1])):
        rank = min((r for r in range(ranks) if len(shares[r]) < full), key=lambda r: (loads[r], r))
        shares[rank].append(index)
        loads[rank] += load
    return shares


def make_plan(size: int, *, pairs_per_step: int, max_steps: int, epochs: float, seed: int) -> Plan:
    """Make the plan of a run of ``max_steps`` steps, or of whole epochs if that is -1."""
    steps = max_steps if max_steps >= 0 else max(1, math.ceil(math.ceil(size / pairs_per_step) * epochs))
    return Plan(size, pairs_per_step, steps, seed)
