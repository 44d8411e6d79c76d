"""Prompts that were voted on and became training pairs: no later evaluation, of any dataset, asks them."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.enums import Split
from app.store.models import DatasetPair, Generation, Label, VotedPrompt
from app.store.models import Prompt as StoredPrompt
from app.store.prompts import sha256_of
from hypo_engine.data.formats import Pair, prompt_key

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


def voted_on(pairs: Iterable[Pair], *, session: Session) -> set[str]:
    """The keys of those pairs' prompts of which answers were voted on here, whatever became of the votes."""
    found: set[str] = set()
    for batch in _batches(pairs):
        keys = {digest: prompt_key(pair.prompt) for pair in batch for digest in _digests(pair)}
        query = select(StoredPrompt.sha256).where(StoredPrompt.sha256.in_(sorted(keys)), _has_votes())
        found.update(keys[digest] for digest in session.scalars(query))
    return found


def _has_votes() -> ColumnElement[bool]:
    """The condition on a stored prompt; an EXISTS, for which PostgreSQL never goes through all votes."""
    return (
        select(Label.id)
        .join(Generation, Label.comparison_id == Generation.comparison_id)
        .where(Generation.prompt_id == StoredPrompt.id)
        .exists()
    )


def _digests(pair: Pair) -> set[str]:
    """The digests under which a pair's prompt may be stored: a question alone is kept as text."""
    if isinstance(pair.prompt, str):
        return {sha256_of(pair.prompt), sha256_of([{"role": "user", "content": pair.prompt}])}
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in pair.prompt]
    alone = len(turns) == 1 and turns[0]["role"] == "user"
    return {sha256_of(turns), *([sha256_of(turns[0]["content"])] if alone else [])}


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
