"""Write a dataset in small batches, so that locks are short.

A dataset is marked as deleted until its last pair is stored, so a partial dataset is never visible. If the
process dies in between, the dataset keeps a row count of 0 and is purged a day later.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, TypeVar

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import clock, voted_prompts
from app.store.enums import Split
from app.store.models import Comparison, Dataset, DatasetLeftOut, DatasetPair, DatasetVotes
from app.store.purging import Children, delete_some
from hypo_engine.data.formats import Account, Kept, LeftOut, prompt_fraction, prompt_key

ROWS: Final = 500
"""Rows per transaction: few enough to hold a lock for only a few milliseconds."""

ABANDONED_AFTER: Final = timedelta(days=1)
VERSION_TRIES: Final = 20
NOT_VOTED: Final[Mapping[int, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Placed:
    """A pair of another version, with its split there."""

    kept: Kept
    split: Split


Writing = Callable[[], AbstractContextManager[Session]]
"""Opens a transaction for the duration of a block, like `write_session`."""

_T = TypeVar("_T")


def create(
    *,
    write: Writing,
    name: str,
    sha256: str,
    format: str,
    source: str,
    held_out: float,
    pairs: Iterable[Kept | Placed],
    left_out: Sequence[LeftOut] = (),
    left_out_count: int | None = None,
    account: Account | None = None,
    parent_id: int | None = None,
    voted_on: Mapping[int, int] = NOT_VOTED,
) -> Dataset:
    """Store the next version of a named dataset.

    Args:
        pairs: at least one; read once, in batches. The split of a pair depends only on its prompt, and
            voted prompts are never held out. A placed pair has its split already.
        left_out: the left-out rows to store; `left_out_count` also counts those that are not stored.
        account: counts of what the source contains beyond the pairs.
        parent_id: the version of which this one is made by leaving out pairs.
        voted_on: the comparisons whose votes became pairs, and how many.
    """
    with write() as session:
        dataset = _next_version(
            session=session,
            name=name,
            sha256=sha256,
            format=format,
            source=source[:500],
            held_out=held_out,
            left_out_count=len(left_out) if left_out_count is None else left_out_count,
            account=account.as_dict() if account else {},
            parent_id=parent_id,
        )
    rows = 0
    for batch in _batches(pairs):
        values = [_pair_values(dataset, rows + i, kept) for i, kept in enumerate(batch)]
        with write() as session:
            _train_on_voted(values, session)
            session.execute(insert(DatasetPair), values)
        rows += len(batch)
    for lines in _batches(left_out):
        told = [{"dataset_id": dataset.id, "row": line.row, "reason": line.reason} for line in lines]
        with write() as session:
            session.execute(insert(DatasetLeftOut), told)
    _keep_votes(dataset.id, voted_on, write)
    with write() as session:
        dataset = session.get_one(Dataset, dataset.id)
        dataset.rows, dataset.deleted_at = rows, None
    return dataset


def _keep_votes(dataset_id: int, voted_on: Mapping[int, int], write: Writing) -> None:
    """Store the conversations of the comparisons whose votes became pairs."""
    pairs: Counter[int] = Counter()
    for batch in _batches(sorted(voted_on)):
        with write() as session:
            query = select(Comparison.id, Comparison.conversation_id).where(Comparison.id.in_(batch))
            for comparison_id, conversation_id in session.execute(query):
                pairs[conversation_id] += voted_on[comparison_id]
    for some in _batches(pairs.items()):
        told = [{"dataset_id": dataset_id, "conversation_id": one, "pairs": count} for one, count in some]
        with write() as session:
            session.execute(insert(DatasetVotes), told)


def _next_version(*, session: Session, name: str, **values: Any) -> Dataset:
    """Insert the dataset's row. If a concurrent import takes the version, retry with the next one."""
    for attempt in range(VERSION_TRIES):
        newest = session.scalar(select(func.max(Dataset.version)).where(Dataset.name == name))
        dataset = Dataset(
            name=name, version=(newest or 0) + 1, rows=0, deleted_at=clock.read(session=session), **values
        )
        try:
            with session.begin_nested():
                session.add(dataset)
        except IntegrityError:
            if attempt == VERSION_TRIES - 1:
                raise
            continue
        return dataset
    raise Refused(f"{name} is being added by too many imports at once. Try again.")


def _pair_values(dataset: Dataset, position: int, given: Kept | Placed) -> dict[str, Any]:
    kept = given.kept if isinstance(given, Placed) else given
    pair = kept.pair
    prompt = pair.prompt if isinstance(pair.prompt, str) else [dict(turn) for turn in pair.prompt]
    held = prompt_fraction(pair.prompt) < dataset.held_out
    return {
        "dataset_id": dataset.id,
        "position": position,
        "row": kept.row,
        "split": given.split if isinstance(given, Placed) else Split.HELD_OUT if held else Split.TRAIN,
        "prompt": prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "weight": pair.weight if pair.weight != 1 else None,
        "margin": pair.margin or None,
    }


def _train_on_voted(values: list[dict[str, Any]], session: Session) -> None:
    """Move voted prompts to the training split: a model may have learned from the votes."""
    held = [(prompt_key(row["prompt"]), row) for row in values if row["split"] is Split.HELD_OUT]
    voted = voted_prompts.known({key for key, _ in held}, session=session)
    for key, row in held:
        if key in voted:
            row["split"] = Split.TRAIN


def keep_from_evaluation(
    keys: Collection[str], held_out: Iterable[tuple[int, int]], *, write: Writing
) -> None:
    """Exclude voted prompts from the evaluation of all existing and future datasets.

    Args:
        keys: the keys of the prompts.
        held_out: (dataset id, position) of the pairs that are currently held out.
    """
    for batch in _batches(sorted(keys)):
        with write() as session:
            voted_prompts.keep(batch, session=session)
    for places in _batches(held_out):
        with write() as session:
            voted_prompts.take_out_of_evaluation(places, session=session)


def purge_abandoned(*, session: Session, rows: int = ROWS) -> bool:
    """Delete some rows of a dataset whose import never finished; False when there is none."""
    long_ago = clock.read(session=session) - ABANDONED_AFTER
    dataset_id = session.scalar(
        select(Dataset.id)
        .where(Dataset.rows == 0, Dataset.deleted_at < long_ago)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if dataset_id is None:
        return False
    if delete_some(_CHILDREN, dataset_id, session=session, rows=rows):
        return True
    session.execute(delete(Dataset).where(Dataset.id == dataset_id))
    return True


_CHILDREN: Children = (
    (DatasetPair, (DatasetPair.dataset_id, DatasetPair.position), DatasetPair.dataset_id),
    (DatasetLeftOut, (DatasetLeftOut.id,), DatasetLeftOut.dataset_id),
    (DatasetVotes, (DatasetVotes.dataset_id, DatasetVotes.conversation_id), DatasetVotes.dataset_id),
)


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, ROWS)):
        yield batch
