"""Prompts whose votes became training pairs: they are out of every later evaluation, of every dataset."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.enums import Split
from app.store.models import DatasetPair, VotedPrompt
from hypo_engine.formats import prompt_key

BATCH = 500

_T = TypeVar("_T")


def keep(keys: Iterable[str], *, session: Session) -> None:
    """Remember prompts by their keys; those that are known already stay."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for batch in _batches(sorted(set(keys))):
        rows = [{"sha256": key} for key in batch]
        session.execute(kind.insert(VotedPrompt).on_conflict_do_nothing(), rows)


def known(keys: Collection[str], *, session: Session) -> set[str]:
    """Those of at most a few hundred keys that were voted on."""
    if not keys:
        return set()
    return set(session.scalars(select(VotedPrompt.sha256).where(VotedPrompt.sha256.in_(sorted(keys)))))


def held_out_pairs_of(keys: Collection[str], *, session: Session) -> list[tuple[int, int]]:
    """(dataset id, position) of all held-out pairs with one of the prompts, in datasets of any name."""
    query = (
        select(DatasetPair.dataset_id, DatasetPair.position, DatasetPair.prompt)
        .where(DatasetPair.split == Split.HELD_OUT)
        .execution_options(yield_per=BATCH)
    )
    wanted = frozenset(keys)
    return [
        (dataset_id, position)
        for dataset_id, position, prompt in session.execute(query)
        if prompt_key(prompt) in wanted
    ]


def take_out_of_evaluation(pairs: Iterable[tuple[int, int]], *, session: Session) -> None:
    """Held out -> voted, for pairs by dataset id and position."""
    by_dataset: dict[int, list[int]] = {}
    for dataset_id, position in pairs:
        by_dataset.setdefault(dataset_id, []).append(position)
    for dataset_id, positions in by_dataset.items():
        for batch in _batches(positions):
            session.execute(
                update(DatasetPair)
                .where(
                    DatasetPair.dataset_id == dataset_id,
                    DatasetPair.position.in_(batch),
                    DatasetPair.split == Split.HELD_OUT,
                )
                .values(split=Split.VOTED)
            )


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
