"""One run being trained: what the training loop holds, and what it does besides stepping."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn

from hypo_engine.batches import Plan
from hypo_engine.checkpoint import Counters, Fingerprint, remove_checkpoint, save_checkpoint
from hypo_engine.config import TrainConfig
from hypo_engine.data import TokenPair, decode_text
from hypo_engine.errors import Interrupted
from hypo_engine.evaluate import Evaluation
from hypo_engine.formats import Pair
from hypo_engine.objective import Objective, ScoredResponse
from hypo_engine.policy import Policy
from hypo_engine.reference import ReferenceCache
from hypo_engine.reporting import Reporter, Sample, Wish

_WISH_SECONDS = 0.5
_ROLLING_SECONDS = 60.0


@dataclass
class Run:
    """What the training loop holds; see :func:`hypo_engine.prepare.prepare_run`."""

    config: TrainConfig
    reporter: Reporter
    output_dir: Path
    given_pairs: Sequence[Pair]
    pairs: list[TokenPair]
    plan: Plan
    tokenizer: Any
    policy: Policy
    objective: Objective
    optimizer: torch.optim.AdamW
    reference: ReferenceCache | None
    evaluation: Evaluation
    fingerprint: Fingerprint
    counters: Counters
    parameters: list[nn.Parameter]
    last_checkpoint: Path | None = None
    last_metrics: dict[str, float] = field(default_factory=dict)
    _asked: float = 0.0
    _saved: float = field(default_factory=monotonic)
    _saving_seconds: float = 0.0

    def progress(self, phase: str) -> None:
        """Report how far the run is."""
        self.reporter.progress(self.counters.step, self.plan.total_steps, phase)

    def between(self, phase: str) -> None:
        """Report a phase and ask the reporter's wish; raises Interrupted."""
        self.progress(phase)
        ask_wish(self.reporter)
        self._asked = monotonic()

    def watch(self) -> None:
        """Ask the reporter's wish if the last time is a while ago; raises Interrupted."""
        if monotonic() - self._asked >= _WISH_SECONDS:
            self._asked = monotonic()
            ask_wish(self.reporter)

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def report_metrics(self, values: dict[str, float]) -> None:
        self.last_metrics |= values
        self.reporter.metrics(self.counters.step, values)

    def report_responses(self, responses: Sequence[ScoredResponse]) -> None:
        """Report the samples of the step that is being done (its number counts from 1)."""
        samples = [
            Sample(
                kind="online",
                step=self.counters.step + 1,
                prompt=self.given_pairs[scored.pair.index].prompt,
                text=decode_text(self.tokenizer, scored.response.ids),
                seed=scored.seed,
                tokens=len(scored.response.ids),
                finished=scored.response.finished,
                policy_logp=scored.policy_logp,
                reference_logp=scored.reference_logp,
            )
            for scored in responses
        ]
        if samples:
            self.reporter.samples(samples)

    def evaluate(self) -> None:
        """Evaluate the policy as it is, and report it."""
        self.between("evaluating")
        for metrics, samples in self.evaluation(self.policy, self.counters.step):
            if metrics:
                self.report_metrics(metrics)
            if samples:
                self.reporter.samples(samples)

    def evaluation_is_due(self) -> bool:
        """Whether the policy is evaluated before the next step: at the start, and every ``eval_steps``."""
        every, step = self.config.eval_steps, self.counters.step
        return step == 0 or (every > 0 and step % every == 0)

    def save_is_due(self) -> bool:
        """Whether this step wants a checkpoint: by ``save_steps``, or a while after the last without it."""
        if self.config.save_steps:
            return self.counters.step % self.config.save_steps == 0
        return monotonic() - self._saved >= max(_ROLLING_SECONDS, 20 * self._saving_seconds)

    def save(self, phase: str) -> None:
        """Write a checkpoint of the current step, unless there is one or nothing was done.

        With ``save_steps`` 0 the one before it is deleted. Raises Interrupted instead when the reporter
        wishes to abandon the run.
        """
        before = self.last_checkpoint
        done = before is not None and before.name.endswith(f"-{self.counters.step:06d}")
        if done or (self.counters.step == 0 and self.plan.total_steps > 0):
            return
        self.progress(phase)
        self._leave_if_abandoned()
        started = monotonic()
        self.last_checkpoint = save_checkpoint(
            self.output_dir,
            policy=self.policy,
            tokenizer=self.tokenizer,
            optimizer=self.optimizer,
            counters=self.counters,
            fingerprint=self.fingerprint,
        )
        self._saved, self._saving_seconds = monotonic(), monotonic() - started
        self.reporter.checkpoint(self.counters.step, str(self.last_checkpoint))
        if before is not None and not self.config.save_steps:
            self._leave_if_abandoned()
            remove_checkpoint(before)

    def _leave_if_abandoned(self) -> None:
        if (wish := self.reporter.wish()) is Wish.ABANDON:
            raise Interrupted(wish)


def ask_wish(reporter: Reporter) -> None:
    """Raise Interrupted unless the reporter wishes to go on."""
    wish = reporter.wish()
    if wish is not Wish.CONTINUE:
        raise Interrupted(wish)
