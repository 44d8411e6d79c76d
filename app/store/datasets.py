"""Datasets: immutable versions of named sets of pairs, and the queries on them."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Row, String, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import clock
from app.store.enums import RunStatus, Split
from app.store.models import Dataset, DatasetLeftOut, DatasetPair, Run
from hypo_engine.data.formats import Account, Pair

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """The numbers of pairs for training and for evaluation.

    `voted` pairs were held out until their prompts were voted on. No run uses them.
    """

    train: int
    held_out: int
    voted: int = 0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of a dataset's answers in characters."""

    chosen_mean: float
    chosen_longest: int
    rejected_mean: float
    rejected_longest: int


def get(dataset_id: int, *, session: Session) -> Dataset:
    """One version, even a deleted one: a run still shows its training data.

    Raises:
        NotFound: when the id does not exist.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFound(f"There is no dataset {dataset_id}; `hypo datasets list` lists all datasets.")
    return dataset


def resolve(reference: str, *, session: Session) -> Dataset:
    """Resolve a reference: `12` (an id), `name` (its newest version) or `name@3` (version 3).

    Raises:
        NotFound: when the dataset does not exist or was deleted.
    """
    reference = reference.strip()
    query = select(Dataset).where(Dataset.deleted_at.is_(None))
    name, at, version = reference.rpartition("@")
    if _is_id(reference):
        query = query.where(Dataset.id == int(reference))
    elif at and _is_id(version):
        query = query.where(Dataset.name == name, Dataset.version == int(version))
    else:
        query = query.where(Dataset.name == reference).order_by(Dataset.version.desc()).limit(1)
    dataset = session.scalars(query).one_or_none()
    if dataset is None:
        raise NotFound(f"There is no dataset {reference[:120]!r}; `hypo datasets list` lists all datasets.")
    return dataset


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def find(
    *,
    session: Session,
    name: str | None = None,
    newest_only: bool = False,
    limit: int = 200,
    offset: int = 0,
    before: int | None = None,
) -> Sequence[Dataset]:
    """Versions that are not deleted, newest first. `name` is a case-insensitive substring of the name.

    Args:
        before: only versions with a smaller id: the last id of the previous page (keyset pagination).
    """
    query = select(Dataset).where(Dataset.deleted_at.is_(None)).order_by(Dataset.id.desc())
    if before is not None:
        query = query.where(Dataset.id < before)
    if name:
        query = query.where(Dataset.name.icontains(name, autoescape=True))
    if newest_only:
        newest = select(func.max(Dataset.id)).where(Dataset.deleted_at.is_(None)).group_by(Dataset.name)
        query = query.where(Dataset.id.in_(newest))
    return session.scalars(query.limit(limit).offset(offset)).all()


def count(*, session: Session) -> int:
    """The number of versions that are not deleted."""
    query = select(func.count()).select_from(Dataset).where(Dataset.deleted_at.is_(None))
    return session.scalar(query) or 0


def of_runs(run_ids: Collection[int], *, session: Session) -> list[int]:
    """The datasets that runs train on, in the order of the runs."""
    query = select(Run.dataset_id).where(Run.id.in_(run_ids)).order_by(Run.id)
    return list(dict.fromkeys(session.scalars(query)))


def versions_of(name: str, *, session: Session) -> Sequence[Dataset]:
    """The versions of a name that are not deleted, newest first."""
    query = select(Dataset).where(Dataset.name == name, Dataset.deleted_at.is_(None))
    return session.scalars(query.order_by(Dataset.version.desc())).all()


def page_of_pairs(
    dataset_id: int,
    *,
    session: Session,
    offset: int = 0,
    limit: int = 20,
    split: Split | None = None,
    search: str = "",
    from_position: int = 0,
) -> Sequence[DatasetPair]:
    """Pairs in source order, from a position on."""
    query = select(DatasetPair).where(*_matching(dataset_id, split, search))
    if from_position:
        query = query.where(DatasetPair.position >= from_position)
    return session.scalars(query.order_by(DatasetPair.position).limit(limit).offset(offset)).all()


def count_pairs(dataset_id: int, *, session: Session, split: Split | None = None, search: str = "") -> int:
    """The number of pairs that `page_of_pairs` pages through."""
    query = select(func.count()).select_from(DatasetPair).where(*_matching(dataset_id, split, search))
    return session.scalar(query) or 0


def _matching(dataset_id: int, split: Split | None, search: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [DatasetPair.dataset_id == dataset_id]
    if split is not None:
        conditions.append(DatasetPair.split == split)
    if search:
        escaped = json.dumps(search)[1:-1]
        conditions.append(
            or_(
                DatasetPair.chosen.icontains(search, autoescape=True),
                DatasetPair.rejected.icontains(search, autoescape=True),
                cast(DatasetPair.prompt, String).icontains(escaped, autoescape=True),
            )
        )
    return conditions


def page_of_left_out(
    dataset_id: int, *, session: Session, offset: int = 0, limit: int = 100, after: int | None = None
) -> Sequence[DatasetLeftOut]:
    """Left-out rows in source order. With `after`, only those with a larger id (keyset pagination)."""
    query = select(DatasetLeftOut).where(DatasetLeftOut.dataset_id == dataset_id)
    if after is not None:
        query = query.where(DatasetLeftOut.id > after)
    return session.scalars(query.order_by(DatasetLeftOut.id).limit(limit).offset(offset)).all()


def iter_pairs(dataset_id: int, *, session: Session, split: Split | None = None) -> Iterator[Pair]:
    """Stream the pairs of one split, or all pairs, in source order."""
    query = (
        select(*_PAIR)
        .where(*_matching(dataset_id, split, ""))
        .order_by(DatasetPair.position)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    for row in session.execute(query):
        yield pair_of(row)


_PAIR = tuple(getattr(DatasetPair, field.name) for field in fields(Pair))


def pair_of(row: DatasetPair | Row[Any]) -> Pair:
    """A stored pair with its weight and margin."""
    return Pair(row.prompt, row.chosen, row.rejected, row.weight or 1.0, row.margin or 0.0)


def account_of(dataset_id: int, *, session: Session) -> Account:
    """Counts of what the source contains beyond the pairs; empty if it was not counted."""
    return Account.of(session.scalar(select(Dataset.account).where(Dataset.id == dataset_id)) or {})


def spread_pairs(dataset_id: int, *, session: Session, split: Split, most: int) -> Iterator[Pair]:
    """At most `most` pairs, spread evenly over one split, in source order."""
    side = _matching(dataset_id, split, "")
    count = session.scalar(select(func.count()).select_from(DatasetPair).where(*side)) or 0
    # the stride is odd because sources often alternate between two kinds of rows
    stride = 1 if count <= most else -(-count // most) | 1
    query = (
        select(*_PAIR)
        .where(*side, DatasetPair.position % stride == 0)
        .order_by(DatasetPair.position)
        .limit(most)
    )
    for row in session.execute(query):
        yield pair_of(row)


def split_counts(dataset_id: int, *, session: Session) -> SplitCounts:
    """Count the pairs of each split. Hashes determine the split, so a small dataset may hold out no pairs."""
    query = (
        select(DatasetPair.split, func.count())
        .where(DatasetPair.dataset_id == dataset_id)
        .group_by(DatasetPair.split)
    )
    counts = {split: count for split, count in session.execute(query)}
    return SplitCounts(*(counts.get(split, 0) for split in (Split.TRAIN, Split.HELD_OUT, Split.VOTED)))


def require_training_pairs(dataset_id: int, *, session: Session) -> None:
    """Refuse a dataset without training pairs.

    Raises:
        NotFound: when the id does not exist.
        Refused: when all its pairs are held out, or it is empty.
    """
    dataset = get(dataset_id, session=session)
    counts = split_counts(dataset_id, session=session)
    if counts.train == 0:
        where = "all of its pairs are held out" if counts.held_out else "it is empty"
        raise Refused(
            f"{dataset.name} version {dataset.version} has no training pairs: {where}. "
            "Add it again with a held-out share of 0, or choose another dataset."
        )


def has_training_rows(sides: Collection[tuple[bool, bool]], dataset_id: int, *, session: Session) -> bool:
    """Whether any training row has one of these sets of answers: a chosen one, a rejected one."""
    wanted = (
        and_((DatasetPair.chosen != "") == chosen, (DatasetPair.rejected != "") == rejected)
        for chosen, rejected in sides
    )
    train = [DatasetPair.dataset_id == dataset_id, DatasetPair.split == Split.TRAIN]
    return session.scalar(select(DatasetPair.position).where(*train, or_(*wanted)).limit(1)) is not None


def trains_on(prompt: Any, dataset_ids: Collection[int], *, session: Session) -> bool:
    """Whether one of the datasets trains on a prompt, as a text or as a single user message."""
    texts = [json.dumps(prompt)]
    if isinstance(prompt, str):
        texts.append(json.dumps([{"role": "user", "content": prompt}]))
    elif len(prompt) == 1:
        texts.append(json.dumps(prompt[0]["content"]))
    query = select(DatasetPair.position).where(
        DatasetPair.dataset_id.in_(sorted(dataset_ids)),
        DatasetPair.split == Split.TRAIN,
        cast(DatasetPair.prompt, String).in_(texts),
    )
    return session.scalar(query.limit(1)) is not None


def lengths(dataset_id: int, *, session: Session) -> Lengths:
    """Answer lengths in characters, over all pairs."""
    chosen, rejected = (
        func.nullif(func.length(answer), 0) for answer in (DatasetPair.chosen, DatasetPair.rejected)
    )
    query = select(func.avg(chosen), func.max(chosen), func.avg(rejected), func.max(rejected))
    row = session.execute(query.where(DatasetPair.dataset_id == dataset_id)).one()
    return Lengths(float(row[0] or 0), row[1] or 0, float(row[2] or 0), row[3] or 0)


def longest_pairs(
    dataset_id: int, *, session: Session, limit: int, most: int = 20_000
) -> list[tuple[int, int, int]]:
    """Character counts (prompt, chosen, rejected) of the longest of the first `most` pairs, longest first.

    The length of a prompt is that of its JSON text, so it includes roles and braces.
    """
    columns = (cast(DatasetPair.prompt, String), DatasetPair.chosen, DatasetPair.rejected)
    sizes = [func.length(column).label(f"size{place}") for place, column in enumerate(columns)]
    first = select(*sizes).where(DatasetPair.dataset_id == dataset_id).order_by(DatasetPair.position)
    found = first.limit(most).subquery()
    total = found.c.size0 + found.c.size1 + found.c.size2
    rows = session.execute(select(found).order_by(total.desc()).limit(limit))
    return [(int(prompt), int(chosen), int(rejected)) for prompt, chosen, rejected in rows]


def delete(dataset_id: int, *, session: Session) -> Dataset:
    """Mark a version as deleted. Its pairs stay, so that finished runs can still show them.

    Raises:
        NotFound: when the id does not exist.
        Refused: while runs that need it are queued or running.
    """
    dataset = get(dataset_id, session=session)
    waiting = session.execute(
        select(Run.name, Run.id)
        .where(Run.dataset_id == dataset_id, Run.status.in_((RunStatus.QUEUED, RunStatus.RUNNING)))
        .order_by(Run.id)
    ).all()
    if waiting:
        names = ", ".join(f"{name} ({run_id})" for name, run_id in waiting[:5])
        more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
        raise Refused(
            f"{dataset.name} version {dataset.version} is used by runs that are not over: {names}{more}. "
            "Cancel them first."
        )
    if dataset.deleted_at is None:
        dataset.deleted_at = clock.read(session=session)
    session.flush()
    return dataset
