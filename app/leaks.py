"""Leaks from training into the evaluation of a run: refused before the run is queued.

A leak is a training pair whose prompt the run's evaluation uses. Within a dataset, prompts are compared as
the split compares them (`prompt_key`); between two datasets, without regard to case and white space. It can
happen in three ways:

- The dataset holds a prompt out and trains on it too. An import puts all pairs of a prompt on one side, so
  this takes an import during which the prompt was voted on.
- The reward model was trained, on another dataset, on pairs of a prompt that the run's dataset holds out. The
  score of held-out samples then rates answers to prompts that the reward model has learned.
- The run starts from the model of a run that was trained, on another dataset, on pairs of such a prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from app.errors import Refused
from app.launch_methods import PENDING
from app.reward_check import reward_run
from app.store import datasets, leaking_pairs, runs, starts
from app.store.db import read_session
from app.store.models import Dataset
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import prompt_key

ROWS_NAMED: Final = 5
PROMPTS_NAMED: Final = 2
PROMPT_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Leak:
    """Training pairs of `trained_on` with prompts that `evaluated_on` holds out: source rows and prompts."""

    trained_on: Dataset
    evaluated_on: Dataset
    pairs: Sequence[tuple[int, Any]]

    @property
    def sentence(self) -> str:
        """The rows, and the first prompts."""
        rows = ", ".join(f"{row:,}" for row, _ in self.pairs[:ROWS_NAMED])
        more = len(self.pairs) - ROWS_NAMED
        rows += f" and {more:,} more" if more > 0 else ""
        prompts = list(dict.fromkeys(_line(prompt) for _, prompt in self.pairs))[:PROMPTS_NAMED]
        named = ", ".join(f"“{prompt}”" for prompt in prompts)
        of, held = _name(self.trained_on), _name(self.evaluated_on)
        if len(self.pairs) == 1:
            return (
                f"1 training pair of {of} has a prompt that {held} holds out for "
                f"evaluation (row {rows}: {named})"
            )
        return (
            f"{len(self.pairs):,} training pairs of {of} have prompts that {held} holds out for "
            f"evaluation (rows {rows}: {named})"
        )


def refuse_leaks(config: TrainConfig, dataset_id: int) -> None:
    """Refuse a run whose evaluation would use prompts that it or its reward model is trained on.

    Raises:
        NotFound: for a dataset that does not exist.
        Refused: names the rows, and what to do.
    """
    with read_session() as session:
        if config.eval_pairs or config.eval_prompts or config.probe_prompts:
            leak = find_leak(dataset_id, dataset_id, session=session)
            if leak is not None:
                raise Refused(
                    f"{leak.sentence}. Leave these rows out, on the dataset's page or with "
                    "`hypo datasets leave-out`, and launch on the new version."
                )
            _refuse_learned_before(config, dataset_id, session=session)
        number = None if config.reward == PENDING else reward_run(config)
        if number is not None and config.eval_prompts:
            learned = runs.get(number, session=session).dataset_id
            leak = find_leak(learned, dataset_id, session=session) if learned != dataset_id else None
            if leak is not None:
                raise Refused(
                    f"The reward model of run {number} has learned from prompts of the evaluation: "
                    f"{leak.sentence}. Set reward to train, which trains a reward model on the run's own "
                    "training pairs; name one that has not seen these prompts; or set eval_prompts to 0."
                )


def _refuse_learned_before(config: TrainConfig, dataset_id: int, *, session: Session) -> None:
    """Refuse a run that starts from runs that were trained on prompts of its evaluation."""
    for run in starts.chain(config.model_name_or_path, session=session).runs:
        leak = (
            None if run.dataset_id == dataset_id else find_leak(run.dataset_id, dataset_id, session=session)
        )
        if leak is not None:
            raise Refused(
                f"Run {run.id}, from which this run starts, has learned from prompts of the evaluation: "
                f"{leak.sentence}. Start from another model, or set eval_pairs, eval_prompts and "
                "probe_prompts to 0."
            )


def find_leak(trained_on: int, evaluated_on: int, *, session: Session) -> Leak | None:
    """The training pairs of one dataset whose prompts another one, or the same, holds out."""
    key = prompt_key if trained_on == evaluated_on else leaking_pairs.folded_key
    keys = leaking_pairs.held_out_keys(evaluated_on, key, session=session)
    pairs = leaking_pairs.training_pairs_of(trained_on, keys, key, session=session) if keys else []
    if not pairs:
        return None
    return Leak(datasets.get(trained_on, session=session), datasets.get(evaluated_on, session=session), pairs)


def _name(dataset: Dataset) -> str:
    return f"{dataset.name} version {dataset.version}"


def _line(prompt: Any) -> str:
    """The last message of a prompt on one line, cut."""
    text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"]) if prompt else ""
    line = " ".join(text.split())
    return line if len(line) <= PROMPT_CHARS else f"{line[: PROMPT_CHARS - 1].rstrip()}…"
