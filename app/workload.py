"""The amount of work of a run before it is queued: pairs, steps, epochs, and remarks on them."""

import math
from dataclasses import dataclass

from app.errors import InvalidInput
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
            f"No pair is left to train on: each has an answer of more than "
            f"{config.max_completion_length:,} tokens. Raise Completion tokens."
        )
    elif work.pairs < work.counts.train:
        about = "" if work.exact else "about "
        share = work.pairs / work.counts.train
        found.append(
            f"The limit of {config.max_completion_length:,} completion tokens keeps {share:.0%}: "
            f"{about}{work.pairs:,} of {work.counts.train:,} training pairs."
        )
    if work.pairs and work.a_step > work.pairs:
        found.append(
            f"A step asks for {work.a_step:,} pairs, more than the {work.pairs:,} there "
            f"{'is' if work.pairs == 1 else 'are'}: every step sees all of them. "
            "Lower Batch size or Accumulation."
        )
    return found


def epochs_in_words(work: Workload) -> str:
    """Passes over the pairs in words, such as `two epochs: every pair is seen twice`."""
    epochs = work.epochs
    if epochs < 0.995:
        return (
            f"{epochs:.0%} of an epoch: most pairs are never seen"
            if epochs < 0.5
            else (f"{epochs:.0%} of an epoch: some pairs are never seen")
        )
    if abs(epochs - 1) < 0.005:
        return "one epoch: every pair is seen once"
    whole = round(epochs)
    if abs(epochs - whole) < 0.005:
        words = _NUMBERS.get(whole, f"{whole:,}")
        return f"{words} epochs: every pair is seen {'twice' if whole == 2 else f'{words} times'}"
    return f"{epochs:,.1f} epochs: every pair is seen {math.floor(epochs):,} or {math.ceil(epochs):,} times"


_NUMBERS = {
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "six",
    7: "seven",
    8: "eight",
    9: "nine",
    10: "ten",
}
