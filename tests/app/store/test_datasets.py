"""Stored datasets: versions, splits, pages and deletion, on SQLite and PostgreSQL."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import dataset_writing, datasets
from app.store.enums import RunStatus, Split
from app.store.models import Dataset, Run
from hypo_engine.data.formats import Kept, LeftOut, Pair
from tests.transactions import within

USER_TURN = [{"role": "user", "content": "Größe? 50% of_it"}]


def some_pairs(count: int) -> list[Kept]:
    return [Kept(i + 1, Pair(f"Prompt {i}", f"good {i}", f"bad {i}")) for i in range(count)]


def add(
    session: Session,
    name: str = "sky",
    pairs: Sequence[Kept] | None = None,
    left_out: Sequence[LeftOut] = (),
    held_out: float = 0.1,
) -> Dataset:
    return dataset_writing.create(
        write=within(session),
        name=name,
        sha256="0" * 64,
        format="trl",
        source="test.jsonl",
        held_out=held_out,
        pairs=some_pairs(3) if pairs is None else pairs,
        left_out=left_out,
    )


def add_run(session: Session, dataset: Dataset, status: RunStatus, name: str = "first run") -> None:
    session.add(
        Run(
            name=name,
            method="dpo",
            status=status,
            dataset_id=dataset.id,
            base_model="demo",
            config={},
            seed=0,
        )
    )
    session.flush()


def test_same_name_makes_the_next_version(session: Session) -> None:
    versions = [add(session).version, add(session).version, add(session, "sea").version]
    assert versions == [1, 2, 1]
    assert [(d.name, d.version) for d in datasets.find(session=session)] == [
        ("sea", 1),
        ("sky", 2),
        ("sky", 1),
    ]
    newest = datasets.find(session=session, newest_only=True)
    assert [(d.name, d.version) for d in newest] == [("sea", 1), ("sky", 2)]
    assert [d.version for d in datasets.versions_of("sky", session=session)] == [2, 1]
    assert [d.name for d in datasets.find(session=session, name="SE")] == ["sea"]


def test_pairs_and_left_out_come_back_in_order(session: Session) -> None:
    pairs = [*some_pairs(1200), Kept(1300, Pair(USER_TURN, "good", "bad"))]
    left_out = [LeftOut(1250, "prompt missing"), LeftOut(1251, "chosen is empty")]
    dataset = add(session, pairs=pairs, left_out=left_out)
    assert (dataset.rows, dataset.left_out_count) == (1201, 2)
    assert list(datasets.iter_pairs(dataset.id, session=session)) == [kept.pair for kept in pairs]
    page = datasets.page_of_pairs(dataset.id, session=session, offset=1199, limit=5)
    assert [(pair.row, pair.prompt) for pair in page] == [(1200, "Prompt 1199"), (1300, USER_TURN)]
    lines = datasets.page_of_left_out(dataset.id, session=session, offset=1)
    assert [(line.row, line.reason) for line in lines] == [(1251, "chosen is empty")]


def test_no_prompt_is_on_both_sides(session: Session) -> None:
    pairs = [Kept(i, Pair(f"Prompt {i % 100}", f"good {i}", f"bad {i}")) for i in range(400)]
    dataset = add(session, pairs=pairs, held_out=0.3)
    sides = {
        split: {pair.prompt for pair in datasets.iter_pairs(dataset.id, session=session, split=split)}
        for split in Split
    }
    assert sides[Split.TRAIN].isdisjoint(sides[Split.HELD_OUT])
    assert len(sides[Split.TRAIN]) + len(sides[Split.HELD_OUT]) == 100
    counts = datasets.split_counts(dataset.id, session=session)
    assert counts.train + counts.held_out == 400
    assert 10 < len(sides[Split.HELD_OUT]) < 50
    again = add(session, pairs=list(reversed(pairs)), held_out=0.3)
    assert datasets.split_counts(again.id, session=session) == counts


def test_nothing_is_held_out_unless_asked(session: Session) -> None:
    dataset = add(session, pairs=some_pairs(50), held_out=0)
    assert datasets.split_counts(dataset.id, session=session) == datasets.SplitCounts(50, 0)


@pytest.mark.parametrize("search", ["Größe", "50% of_it", "GOOD ONE", "bad one", 'a "quote"'])
def test_search_finds_text_anywhere_and_takes_it_as_it_stands(session: Session, search: str) -> None:
    wanted = Kept(1, Pair([*USER_TURN], 'good one, a "quote"', "bad one"))
    dataset = add(session, pairs=[wanted, *some_pairs(3)])
    found = datasets.page_of_pairs(dataset.id, session=session, search=search)
    assert [pair.row for pair in found] == [1]
    assert found[0].chosen == wanted.pair.chosen
    assert datasets.count_pairs(dataset.id, session=session, search=search) == 1
    assert datasets.count_pairs(dataset.id, session=session, search="100%") == 0


def test_reference_is_an_id_a_name_or_a_version(session: Session) -> None:
    first, second = add(session), add(session)
    assert datasets.resolve(str(first.id), session=session) is first
    assert datasets.resolve(" sky ", session=session) is second
    assert datasets.resolve("sky@1", session=session) is first
    for unknown in ("sea", "sky@9", "999", "9" * 30, "sky@", "@1", "", "²"):
        with pytest.raises(NotFound, match="There is no dataset"):
            datasets.resolve(unknown, session=session)
    with pytest.raises(NotFound, match="There is no dataset 999"):
        datasets.get(999, session=session)


def test_deleted_version_leaves_the_lists_and_its_number_stays_taken(session: Session) -> None:
    first, second = add(session), add(session)
    add_run(session, second, RunStatus.FINISHED)
    datasets.delete(second.id, session=session)
    assert datasets.resolve("sky", session=session) is first
    assert [d.version for d in datasets.find(session=session)] == [1]
    assert [d.version for d in datasets.find(session=session, newest_only=True)] == [1]
    assert len(list(datasets.iter_pairs(second.id, session=session))) == 3
    assert add(session).version == 3
    deleted_at = second.deleted_at
    assert datasets.delete(second.id, session=session).deleted_at == deleted_at


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING])
def test_dataset_of_a_run_that_is_not_over_cannot_be_deleted(session: Session, status: RunStatus) -> None:
    dataset = add(session)
    for i in range(7):
        add_run(session, dataset, status, name=f"run-{i}")
    with pytest.raises(
        Refused, match=r"sky version 1 is used .* run-0 \(\d+\), .* and 2 more\. Cancel them first"
    ):
        datasets.delete(dataset.id, session=session)
    assert dataset.deleted_at is None


def test_lengths_are_those_of_all_answers(session: Session) -> None:
    pairs = [Kept(1, Pair("p", "abc", "a")), Kept(2, Pair("p", "ä", "abcd"))]
    dataset = add(session, pairs=pairs)
    assert datasets.lengths(dataset.id, session=session) == datasets.Lengths(2.0, 3, 2.5, 4)
    empty = add(session, pairs=[])
    assert datasets.lengths(empty.id, session=session) == datasets.Lengths(0.0, 0, 0.0, 0)


def test_adding_at_the_same_time_makes_versions_one_after_the_other(engine: Engine) -> None:
    def add_one(_: int) -> int:
        with Session(engine) as session, session.begin():
            return add(session).version

    with ThreadPoolExecutor(4) as pool:
        versions = sorted(pool.map(add_one, range(8)))
    assert versions == list(range(1, 9))
