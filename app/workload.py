"""The amount of work of a run before it is queued: pairs, steps, epochs, and remarks on them."""

import math
from dataclasses import dataclass

from app.errors import InvalidInput
from app.i18n import N_, _, _n
from app.lengths import TokenLengths, token_lengths
from app.store import datasets
from app.store.datasets import SplitCounts
from app.store.db import read_session
from hypo_engine.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Workload:
    """The work of a configuration on a dataset.

    Attributes:
        counts: Numbers of the dataset's pairs by their use.
        lengths: Tokens of the training pairs; None if the model's tokenizer is not on this machine.
        pairs: Training pairs within the length limits; all of them if the lengths are unknown.
        a_step: Pairs per optimiser step.
        steps: Optimiser steps of the run.
    """

    counts: SplitCounts
    lengths: TokenLengths | None
    pairs: int
    a_step: int
    steps: int

    @property
    def exact(self) -> bool:
        """Whether `pairs` is a count, neither extrapolated from a sample nor assumed."""
        return self.lengths is not None and self.lengths.complete

    @property
    def seen(self) -> int:
        """Pairs that the steps read in total; the last step of an epoch may be smaller."""
        if not self.pairs:
            return 0
        epochs, more = divmod(self.steps, math.ceil(self.pairs / self.a_step))
        return epochs * self.pairs + more * self.a_step

    @property
    def epochs(self) -> float:
        """Passes over the pairs, counted in steps as the engine does."""
        return self.steps / math.ceil(self.pairs / self.a_step) if self.pairs else 0.0


def workload(config: TrainConfig, dataset_id: int) -> Workload:
    """The work of one run; each of several twins does it once."""
    with read_session() as session:
        counts = datasets.split_counts(dataset_id, session=session)
    lengths = token_lengths(dataset_id, config.model_name_or_path)
    pairs = counts.train if lengths is None else lengths.kept(config.max_completion_length)
    a_step = config.pairs_per_step
    steps = config.max_steps
    if steps < 0:
        steps = max(1, math.ceil(math.ceil(pairs / a_step) * config.num_train_epochs)) if pairs else 0
    return Workload(counts, lengths, pairs, a_step, steps)


def refuse_what_keeps_no_pair(config: TrainConfig, dataset_id: int) -> None:
    """Refuse a run whose length limits leave no training pair, if all pairs could be counted.

    Raises:
        InvalidInput: names the field.
    """
    work = workload(config, dataset_id)
    if work.exact and work.pairs == 0 and work.lengths is not None:
        shortest = min(work.lengths.completions)
        raise InvalidInput(
            f"Completion tokens (max_completion_length) is {config.max_completion_length:,}, and every pair "
            f"has a longer answer; the shortest needs {shortest:,}. Raise it.",
            field="max_completion_length",
        )


def remarks(work: Workload, config: TrainConfig) -> list[str]:
    """Remarks to read before launching, one sentence each."""
    found = []
    if work.pairs == 0 and work.counts.train:
        found.append(
            _(
                "No pair is left to train on: each has an answer of more than {n} tokens. "
                "Raise Completion tokens.",
                n=f"{config.max_completion_length:,}",
            )
        )
    elif work.pairs < work.counts.train:
        pairs = f"{work.pairs:,}"
        found.append(
            _(
                "The limit of {n} completion tokens keeps {share}: {kept} of {all} training pairs.",
                n=f"{config.max_completion_length:,}",
                share=f"{work.pairs / work.counts.train:.0%}",
                kept=pairs if work.exact else _("about {number}", number=pairs),
                all=f"{work.counts.train:,}",
            )
        )
    if work.pairs and work.a_step > work.pairs:
        found.append(
            _n(
                "A step asks for {step} pairs, more than the {n} there is: every step sees all of them. "
                "Lower Batch size or Accumulation.",
                "A step asks for {step} pairs, more than the {n} there are: every step sees all of them. "
                "Lower Batch size or Accumulation.",
                work.pairs,
                step=f"{work.a_step:,}",
            )
        )
    return found


def epochs_in_words(work: Workload) -> str:
    """Passes over the pairs in words, such as `two epochs: every pair is seen twice`."""
    epochs = work.epochs
    if epochs < 0.5:
        return _("{share} of an epoch: most pairs are never seen", share=f"{epochs:.0%}")
    if epochs < 0.995:
        return _("{share} of an epoch: some pairs are never seen", share=f"{epochs:.0%}")
    if abs(epochs - 1) < 0.005:
        return _("one epoch: every pair is seen once")
    whole = round(epochs)
    if abs(epochs - whole) >= 0.005:
        return _(
            "{epochs} epochs: every pair is seen {fewest} or {most} times",
            epochs=f"{epochs:,.1f}",
            fewest=f"{math.floor(epochs):,}",
            most=f"{math.ceil(epochs):,}",
        )
    if whole in _NUMBERS:
        return _(_NUMBERS[whole])
    return _n("{n} epoch: every pair is seen {n} times", "{n} epochs: every pair is seen {n} times", whole)


_NUMBERS = {
    2: N_("two epochs: every pair is seen twice"),
    3: N_("three epochs: every pair is seen three times"),
    4: N_("four epochs: every pair is seen four times"),
    5: N_("five epochs: every pair is seen five times"),
    6: N_("six epochs: every pair is seen six times"),
    7: N_("seven epochs: every pair is seen seven times"),
    8: N_("eight epochs: every pair is seen eight times"),
    9: N_("nine epochs: every pair is seen nine times"),
    10: N_("ten epochs: every pair is seen ten times"),
}
