"""Writing a dataset: in short transactions, invisible until complete, and removed when it fails."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from app.store import dataset_writing, datasets, users
from app.store.db import read_session, write_session
from app.store.models import Dataset, DatasetLeftOut, DatasetPair
from hypo_engine.data.formats import Kept, LeftOut, Pair

COUNT = 2 * dataset_writing.ROWS + 1


def pairs(count: int = COUNT) -> Iterator[Kept]:
    return (Kept(i + 1, Pair(f"Prompt {i}", "good", "bad")) for i in range(count))


def create(rows: Iterator[Kept], name: str = "sky") -> Dataset:
    return dataset_writing.create(
        write=write_session,
        name=name,
        sha256="0" * 64,
        format="trl",
        source="test",
        held_out=0.0,
        pairs=rows,
        left_out=[LeftOut(COUNT + 1, "chosen is empty")],
    )


def stored() -> list[int]:
    with read_session() as session:
        kinds = (Dataset, DatasetPair, DatasetLeftOut)
        return [session.scalar(select(func.count()).select_from(kind)) or 0 for kind in kinds]


def test_others_write_meanwhile_and_see_no_part_of_it(engine: Engine) -> None:
    seen = []

    def watched() -> Iterator[Kept]:
        for place, kept in enumerate(pairs()):
            if place % dataset_writing.ROWS == 0:
                with write_session() as session:
                    users.ensure(f"voter {place}", session=session)
                    seen.append(len(datasets.find(session=session)) + datasets.count(session=session))
            yield kept

    dataset = create(watched())
    assert seen == [0, 0, 0]
    with read_session() as session:
        assert [found.rows for found in datasets.find(session=session)] == [COUNT]
        assert datasets.resolve("sky", session=session).id == dataset.id
    assert stored() == [1, COUNT, 1]


def broken() -> Iterator[Kept]:
    yield from pairs()
    raise OSError("the disk is gone")


def test_what_was_never_finished_is_purged_a_day_later_and_its_version_is_free(engine: Engine) -> None:
    whole = create(pairs(3), "whole")
    with write_session() as session:
        datasets.delete(whole.id, session=session)
    with pytest.raises(OSError, match="the disk"):
        create(broken())
    assert stored() == [2, 3 + COUNT - 1, 1]
    assert not _purge()
    with Session(engine) as session, session.begin():
        for dataset in session.scalars(select(Dataset)):
            long_ago = dataset.deleted_at - timedelta(days=2) if dataset.deleted_at else None
            session.execute(update(Dataset).where(Dataset.id == dataset.id).values(deleted_at=long_ago))
    calls = 0
    while _purge():
        calls += 1
    assert calls >= 3
    assert stored() == [1, 3, 1]
    assert create(pairs(3)).version == 1


def _purge() -> bool:
    with write_session() as session:
        return dataset_writing.purge_abandoned(session=session)
