"""The state of one training run: its parts, its batches, and its reporter's wishes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.data.token_pairs import TokenPairs
from hypo_engine.distributed.fsdp import make_mesh, shard_model
from hypo_engine.distributed.world import World
from hypo_engine.errors import Interrupted
from hypo_engine.methods.objective import Objective
from hypo_engine.models.policy import Policy
from hypo_engine.reference.scores import ReferenceCache, length_batches
from hypo_engine.reporting import Reporter, Wish
from hypo_engine.training.checkpoint import Counters
from hypo_engine.training.evaluate import Evaluation
from hypo_engine.training.fingerprint import Fingerprint
from hypo_engine.training.optimizer import shard_optimizer
from hypo_engine.training.plan import Plan, deal
from hypo_engine.training.schedule import learning_rate_at

_WISH_SECONDS = 0.5


@dataclass
class Saved:
    """The last checkpoint of a run, for :mod:`hypo_engine.training.saving`.

    Attributes:
        checkpoint: Its folder; None before the first.
        at: When it was written, or when the run began, by :func:`time.monotonic`.
        seconds: How long the write took.
    """

    checkpoint: Path | None = None
    at: float = field(default_factory=monotonic)
    seconds: float = 0.0


@dataclass
class Run:
    """The state of one training run, created by :func:`hypo_engine.training.prepare.prepare_run`."""

    config: TrainConfig
    reporter: Reporter
    output_dir: Path
    source_pairs: Sequence[Pair]
    pair_counts: Mapping[str, float]
    pairs: TokenPairs
    plan: Plan
    tokenizer: Any
    policy: Policy
    objective: Objective
    optimizer: torch.optim.AdamW
    reference: ReferenceCache | None
    fingerprint: Fingerprint
    parameters: list[nn.Parameter]
    evaluation: Evaluation = field(init=False)
    counters: Counters = field(default_factory=Counters)
    world: World = field(default_factory=World)
    saved: Saved = field(default_factory=Saved)
    _asked: float = 0.0

    def share_state(self) -> None:
        """Synchronize the reference scores over all processes, and shard the weights if configured."""
        if self.reference is not None:
            self.reference.values = self.world.merge(self.reference.values)
        if self.world.lockstep:
            mesh, whole = make_mesh(self.world.size), self.parameters
            self.policy.shard(partial(shard_model, mesh=mesh))
            self.parameters = self.policy.parameters()
            self.optimizer = shard_optimizer(self.optimizer, whole, self.parameters)

    def progress(self, phase: str) -> None:
        """Report the run's progress."""
        self.reporter.progress(self.counters.step, self.plan.total_steps, phase)

    def between(self, phase: str) -> None:
        """Report a phase and check the reporter's wish; raises Interrupted. For ``world.synchronized()``."""
        self.progress(phase)
        self.world.raise_if_stopped(self.reporter.wish())
        self._asked = monotonic()

    def watch(self) -> None:
        """Check the reporter's wish, unless it was checked recently; raises Interrupted."""
        if monotonic() - self._asked >= _WISH_SECONDS and not self.world.lockstep:
            self._asked = monotonic()
            self.world.raise_if_stopped(self.reporter.wish())

    @property
    def micro_batch(self) -> int:
        """Pairs per forward and backward pass: as configured, or what turned out to fit."""
        return self.counters.micro_batch or self.config.per_device_train_batch_size

    def batches(self, step: int, size: int) -> list[list[list[int]]]:
        """Pair indices of a step: for each process, its batches of at most ``size``."""
        pair_indices = self.plan.pair_indices(step)
        shares = deal(pair_indices, [sum(self.pairs.lengths(i)) for i in pair_indices], self.world.size)
        return [length_batches(share, self.pairs, size) for share in shares]

    def micro_batches(self, size: int) -> list[tuple[list[int], int]]:
        """This process's batches of the current step, and the number of pairs that each counts for.

        In lockstep all processes run the same number of batches; an extra one counts for no pairs.
        """
        shares = self.batches(self.counters.step, size)
        own = [(batch, len(batch)) for batch in shares[self.world.rank]]
        missing = max(map(len, shares)) - len(own) if self.world.lockstep else 0
        return own + [(shares[0][-1], 0)] * missing

    def set_learning_rate(self) -> float:
        """Set the current step's learning rate and return it."""
        rate = learning_rate_at(self.counters.step, self.plan.total_steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def count_step(self) -> None:
        """Count a finished step."""
        pair_indices = self.plan.pair_indices(self.counters.step)
        self.counters.step += 1
        self.counters.num_tokens += sum(self.config.tokens_read(*self.pairs.lengths(i)) for i in pair_indices)


def ask_wish(reporter: Reporter) -> None:
    """Raise Interrupted unless the reporter wishes to go on."""
    wish = reporter.wish()
    if wish is not Wish.CONTINUE:
        raise Interrupted(wish)
