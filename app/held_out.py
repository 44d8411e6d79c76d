"""Prompts for the compare page on which no chosen contender was trained."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app import demo
from app.store import datasets, runs
from app.store.conversations import ContenderChoice
from app.store.db import read_session
from app.store.enums import Split
from app.store.prompts import split_off_question

TRIES = 20


@dataclass(frozen=True, slots=True)
class HeldOutPrompt:
    """A prompt split into the messages before the question and the question."""

    opening: list[dict[str, str]]
    question: str


def random_prompt(choices: Sequence[ContenderChoice] = ()) -> HeldOutPrompt:
    """A held-out prompt, with its history, from a dataset that a contender was trained on.

    No chosen contender was trained on it through another dataset or votes either. Falls back to a prompt of
    the demo.

    Raises:
        NotFound: for a run that does not exist.
    """
    with read_session() as session:
        of_runs = [
            runs.get(choice.run_id, session=session) for choice in choices if choice.run_id is not None
        ]
        used = list(dict.fromkeys(run.dataset_id for run in of_runs))
        for dataset_id in used:
            others = [other for other in used if other != dataset_id]
            found = random_of_dataset(dataset_id, session=session, unseen_in=others)
            if found is not None:
                return found
    return HeldOutPrompt([], random.choice(demo.held_out_questions()))


def random_of_dataset(
    dataset_id: int, *, session: Session, unseen_in: Sequence[int] = ()
) -> HeldOutPrompt | None:
    """A held-out prompt of a dataset that ends in a question; None if no sampled prompt qualifies.

    Args:
        unseen_in: ids of other datasets that must not train on the prompt.
    """
    count = datasets.split_counts(dataset_id, session=session).held_out
    for place in random.sample(range(count), min(count, TRIES)):
        pairs = datasets.page_of_pairs(
            dataset_id, session=session, split=Split.HELD_OUT, limit=1, offset=place
        )
        parts = split_off_question(pairs[0].prompt) if pairs else None
        if parts is None or datasets.trains_on(pairs[0].prompt, unseen_in, session=session):
            continue
        return HeldOutPrompt(*parts)
    return None
