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

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from app.csv_text import escaped, lines
from app.errors import Refused
from app.launch_methods import PENDING
from app.reward_check import reward_run
from app.store import datasets, leaking_pairs, runs, starts
from app.store.db import read_session
from app.store.leaking_pairs import LeakingPair
from app.store.models import Dataset
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import prompt_key

COLUMNS: Final = ("row", "position", "prompt")
ROWS_OF_PIECE: Final = 2000
ROWS_NAMED: Final = 5
PROMPTS_NAMED: Final = 2
PROMPT_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Leak:
    """Training pairs of `trained_on` with prompts that `evaluated_on` holds out."""

    trained_on: Dataset
    evaluated_on: Dataset
    pairs: Sequence[LeakingPair]

    @property
    def command(self) -> str:
        """The command that lists all of the pairs."""
        listing = f"hypo datasets leaks {self.trained_on.id}"
        other = self.evaluated_on.id != self.trained_on.id
        return f"{listing} --into {self.evaluated_on.id}" if other else listing

    @property
    def sentence(self) -> str:
        """The first rows and prompts."""
        rows = ", ".join(f"{pair.row:,}" for pair in self.pairs[:ROWS_NAMED])
        more = len(self.pairs) - ROWS_NAMED
        rows += f" and {more:,} more" if more > 0 else ""
        prompts = list(dict.fromkeys(one_line(pair.prompt) for pair in self.pairs))[:PROMPTS_NAMED]
        named = ", ".join(f"“{prompt}”" for prompt in prompts)
        of, held = name_of(self.trained_on), name_of(self.evaluated_on)
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
                    f"{leak.sentence}. Leave these pairs out, on the dataset's page (Check) or with "
                    f"`hypo datasets leave-out {dataset_id} --leaks`, and launch on the new version. "
                    f"{_all_of(leak)}"
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
                    "training pairs; name one that has not seen these prompts; or set eval_prompts to 0. "
                    f"{_all_of(leak)}"
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
                f"probe_prompts to 0. {_all_of(leak)}"
            )


def _all_of(leak: Leak) -> str:
    return f"`{leak.command}` lists all of these pairs."


def find_leak(trained_on: int, evaluated_on: int, *, session: Session) -> Leak | None:
    """The training pairs of one dataset whose prompts another one, or the same, holds out."""
    key = prompt_key if trained_on == evaluated_on else leaking_pairs.folded_key
    keys = leaking_pairs.held_out_keys(evaluated_on, key, session=session)
    pairs = leaking_pairs.training_pairs_of(trained_on, keys, key, session=session) if keys else []
    if not pairs:
        return None
    return Leak(datasets.get(trained_on, session=session), datasets.get(evaluated_on, session=session), pairs)


def pieces(leak: Leak | None) -> Iterator[bytes]:
    """All leaking pairs as CSV: the row in the source, the position in the dataset, and the prompt."""
    yield lines([COLUMNS])
    pairs = () if leak is None else leak.pairs
    for start in range(0, len(pairs), ROWS_OF_PIECE):
        some = pairs[start : start + ROWS_OF_PIECE]
        yield lines([(pair.row, pair.position, escaped(_whole(pair.prompt))) for pair in some])


def _whole(prompt: Any) -> str:
    """A prompt as one text; several turns as JSON."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


def name_of(dataset: Dataset) -> str:
    return f"{dataset.name} version {dataset.version}"


def one_line(prompt: Any) -> str:
    """The last message of a prompt on one line, cut."""
    text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"]) if prompt else ""
    said = " ".join(text.split())
    return said if len(said) <= PROMPT_CHARS else f"{said[: PROMPT_CHARS - 1].rstrip()}…"
