"""Training pairs whose prompts an evaluation uses."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.enums import Split
from app.store.models import DatasetPair
from hypo_engine.data.formats import prompt_key

ROWS_AT_ONCE = 500

Key = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class LeakingPair:
    """Where a training pair is, in its source and in its dataset, and its prompt."""

    row: int
    position: int
    prompt: Any


def folded_key(prompt: Any) -> str:
    """As `prompt_key`; prompts that differ only in case and white space have equal keys too."""
    if isinstance(prompt, str):
        return prompt_key(_folded(prompt))
    return prompt_key([{**turn, "content": _folded(turn["content"])} for turn in prompt])


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def held_out_keys(dataset_id: int, key: Key = prompt_key, *, session: Session) -> set[str]:
    """Keys of the prompts that a dataset holds out for evaluation."""
    query = select(DatasetPair.prompt).where(
        DatasetPair.dataset_id == dataset_id, DatasetPair.split == Split.HELD_OUT
    )
    found = session.scalars(query.execution_options(yield_per=ROWS_AT_ONCE))
    return {key(prompt) for prompt in found}


def training_pairs_of(
    dataset_id: int, keys: Collection[str], key: Key = prompt_key, *, session: Session
) -> list[LeakingPair]:
    """The training pairs of a dataset with one of the prompts, in order."""
    query = (
        select(DatasetPair.row, DatasetPair.position, DatasetPair.prompt)
        .where(DatasetPair.dataset_id == dataset_id, DatasetPair.split == Split.TRAIN)
        .order_by(DatasetPair.position)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    found = session.execute(query)
    return [LeakingPair(row, place, prompt) for row, place, prompt in found if key(prompt) in keys]
