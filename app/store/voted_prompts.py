"""Voted prompts: their votes became training pairs, so later evaluations of all datasets exclude them."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.enums import Split
from app.store.models import Comparison, DatasetPair, Generation, Label, VotedPrompt
from app.store.models import Prompt as StoredPrompt
from app.store.prompts import sha256_of
from hypo_engine.data.formats import Pair, prompt_key

BATCH = 500

_T = TypeVar("_T")


def keep(keys: Iterable[str], *, session: Session) -> None:
    """Record prompts by their keys. Known keys are ignored."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for batch in _batches(sorted(set(keys))):
        rows = [{"sha256": key} for key in batch]
        session.execute(kind.insert(VotedPrompt).on_conflict_do_nothing(), rows)


def known(keys: Collection[str], *, session: Session) -> set[str]:
    """The recorded keys among at most a few hundred keys."""
    if not keys:
        return set()
    return set(session.scalars(select(VotedPrompt.sha256).where(VotedPrompt.sha256.in_(sorted(keys)))))


def count_known(keys: Iterable[str], *, session: Session) -> int:
    """The number of recorded keys among any number of distinct keys."""
    return sum(len(known(batch, session=session)) for batch in _batches(keys))


def voted_on(pairs: Iterable[Pair], *, session: Session) -> set[str]:
    """Keys of the pairs' prompts that have votes here, whether or not the votes became training pairs."""
    found: set[str] = set()
    for batch in _batches(pairs):
        keys = {digest: prompt_key(pair.prompt) for pair in batch for digest in _digests(pair)}
        query = select(StoredPrompt.sha256).where(StoredPrompt.sha256.in_(sorted(keys)), _has_votes())
        found.update(keys[digest] for digest in session.scalars(query))
    return found


def texts(*, session: Session) -> Iterator[Any]:
    """The prompts with votes here, whether or not the votes became training pairs."""
    query = select(StoredPrompt.content).where(_has_votes())
    yield from session.scalars(query.execution_options(yield_per=BATCH))


def _has_votes() -> ColumnElement[bool]:
    """The condition that a stored prompt has votes, as an EXISTS: PostgreSQL then never scans all votes."""
    of_prompt = Generation.prompt_id == StoredPrompt.id
    asked = (
        select(Label.id).join(Generation, Label.comparison_id == Generation.comparison_id).where(of_prompt)
    )
    pairs = (  # a campaign's pairs show the answers of another comparison
        select(Label.id)
        .join(Comparison, Label.comparison_id == Comparison.id)
        .join(Generation, Comparison.source_id == Generation.comparison_id)
        .where(of_prompt)
    )
    return or_(asked.exists(), pairs.exists())


def _digests(pair: Pair) -> set[str]:
    """The digests under which a pair's prompt may be stored: a single question may be a text or a message."""
    if isinstance(pair.prompt, str):
        return {sha256_of(pair.prompt), sha256_of([{"role": "user", "content": pair.prompt}])}
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in pair.prompt]
    alone = len(turns) == 1 and turns[0]["role"] == "user"
    return {sha256_of(turns), *([sha256_of(turns[0]["content"])] if alone else [])}


def held_out_pairs_of(keys: Collection[str], *, session: Session) -> list[tuple[int, int]]:
    """(dataset id, position) of all held-out pairs with one of the prompts, in all datasets."""
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
    """held_out -> voted, for pairs given as (dataset id, position)."""
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
