"""Adding datasets: stored data, refusals, and refusals that change nothing."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound
from app.imports import Limits, UnknownFormat, add_dataset, add_pairs, look_into
from app.imports.service import add_files
from app.imports.spool import KEPT_LEFT_OUT
from app.store import datasets
from app.store.models import Dataset, DatasetLeftOut, DatasetPair
from hypo_engine.data.formats import ColumnMapping, LeftOut, Pair

LIMITS = Limits(max_bytes=2**22, max_rows=20_000)
ROWS: list[Any] = [{"prompt": f"Prompt {i}", "chosen": "good", "rejected": "bad"} for i in range(20)]


def write(folder: Path, rows: list[Any], name: str = "pairs.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def count(session: Session) -> list[int | None]:
    return [
        session.scalar(select(func.count()).select_from(t)) for t in (Dataset, DatasetPair, DatasetLeftOut)
    ]


def test_source_format_checksum_and_counts_are_stored(session: Session, tmp_path: Path) -> None:
    path = write(tmp_path, [*ROWS, {"prompt": "", "chosen": "a", "rejected": "b"}, None])
    added = add_dataset(path=path, name=" sky ", limits=LIMITS)
    session.commit()
    dataset = datasets.get(added.id, session=session)
    assert (dataset.name, dataset.version, dataset.format, dataset.rows) == ("sky", 1, "trl", 20)
    assert (dataset.source, dataset.held_out, dataset.left_out_count) == ("pairs.jsonl", 0.1, 2)
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert added.left_out == [LeftOut(21, "prompt missing"), LeftOut(22, "not an object with named columns")]
    assert [line.row for line in datasets.page_of_left_out(added.id, session=session)] == [21, 22]


def test_same_file_again_is_a_new_version(session: Session, tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    versions = [add_dataset(path=path, name="sky").version for _ in range(2)]
    assert versions == [1, 2]


def test_checksum_is_that_of_the_packed_file(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress(write(tmp_path, ROWS).read_bytes()))
    added = add_dataset(path=path, name="sky", source="a colleague")
    dataset = datasets.get(added.id, session=session)
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert dataset.source == "a colleague"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "empty"),
        ([None, 3], "not an object"),
        (["text"], "no rows with named columns"),
        (
            [{"prompt": "p", "chosen": "same", "rejected": "same"}] * 3,
            r"Row 1: chosen equals rejected.*\(3 rows\)",
        ),
        ([{"question": "q", "good": "a", "bad": "b"}], "not recognised"),
    ],
)
def test_file_without_a_good_row_changes_nothing(
    session: Session, tmp_path: Path, rows: list[Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence if sentence != "not an object" else "no rows with named"):
        add_dataset(path=write(tmp_path, rows), name="sky")
    session.commit()
    assert count(session) == [0, 0, 0]


def test_file_that_breaks_off_changes_nothing(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress(write(tmp_path, ROWS).read_bytes())[:-10])
    with pytest.raises(InvalidInput, match="ends early"):
        add_dataset(path=path, name="sky")
    session.commit()
    assert count(session) == [0, 0, 0]


def test_unknown_format_names_the_columns_and_a_mapping_helps(session: Session, tmp_path: Path) -> None:
    path = write(tmp_path, [{"question": f"q {i}", "good": "a", "bad": "b"} for i in range(3)])
    with pytest.raises(UnknownFormat) as unknown:
        add_dataset(path=path, name="sky")
    assert unknown.value.columns == ["question", "good", "bad"]
    assert unknown.value.field == "mapping"
    with pytest.raises(InvalidInput, match=r"no column 'why'. Its columns are: question, good, bad"):
        add_dataset(path=path, name="sky", mapping=ColumnMapping("why", "good", "bad"))
    added = add_dataset(path=path, name="sky", mapping=ColumnMapping("question", "good", "bad"))
    assert (added.rows, added.format) == (3, "mapped")


@pytest.mark.parametrize(
    "name", ["", "  ", "a" * 101, "a@1", "a/b", "12", ".hidden", "a\nb", "\x00", "a\ud800"]
)
def test_bad_name_is_refused_before_anything_is_read(session: Session, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        add_dataset(path=Path("nowhere"), name=name)
    assert refused.value.field == "name"


@pytest.mark.parametrize("share", [-0.1, 0.95, float("nan"), float("inf")])
def test_bad_held_out_share_is_refused(session: Session, share: float) -> None:
    with pytest.raises(InvalidInput, match=r"between 0 and 0\.9") as refused:
        add_dataset(path=Path("nowhere"), name="sky", held_out=share)
    assert refused.value.field == "held_out"


def test_missing_file_is_refused(session: Session) -> None:
    with pytest.raises(NotFound, match="There is no file nowhere"):
        add_dataset(path=Path("nowhere"), name="sky")


def test_all_rows_left_out_are_counted_and_the_first_kept(session: Session, tmp_path: Path) -> None:
    bad = {"prompt": "p", "chosen": None, "rejected": "b"}
    path = write(tmp_path, [*ROWS, *([bad] * (KEPT_LEFT_OUT + 50))])
    added = add_dataset(path=path, name="sky", limits=LIMITS)
    assert (added.left_out_count, len(added.left_out)) == (KEPT_LEFT_OUT + 50, KEPT_LEFT_OUT)
    assert count(session) == [1, 20, KEPT_LEFT_OUT]


def test_several_files_are_numbered_through(session: Session, tmp_path: Path) -> None:
    paths = [write(tmp_path, ROWS, "1.jsonl"), write(tmp_path, [*ROWS[:2], {"prompt": "p"}], "2.jsonl")]
    added = add_files(paths=paths, name="sky", source="two files")
    assert (added.rows, added.left_out) == (22, [LeftOut(23, "chosen is empty")])
    assert added.remarks[0] == ("Rows are numbered across the files: 1.jsonl 1 to 20; 2.jsonl 21 to 23.")


def test_rows_of_several_files_are_limited_together(session: Session, tmp_path: Path) -> None:
    paths = [write(tmp_path, ROWS, "1.jsonl"), write(tmp_path, ROWS, "2.jsonl")]
    with pytest.raises(InvalidInput, match=r"more than 30 rows.*HYPO_MAX_DATASET_ROWS"):
        add_files(paths=paths, name="sky", source="x", limits=Limits(2**20, 30))


def test_pairs_can_be_added_without_a_file(session: Session) -> None:
    pairs = [Pair([{"role": "user", "content": "Hi"}], "Hello", "Go away"), Pair("p", "same", "same")]
    added = add_pairs(pairs=pairs, name="votes", source="votes of July", format="votes")
    assert (added.rows, added.left_out, added.format) == (1, [LeftOut(2, "chosen equals rejected")], "votes")
    assert list(datasets.iter_pairs(added.id, session=session)) == pairs[:1]
    session.commit()
    again = add_pairs(pairs=pairs, name="votes", source="votes of July")
    checksums = {datasets.get(id_, session=session).sha256 for id_ in (added.id, again.id)}
    assert len(checksums) == 1
    session.commit()
    with pytest.raises(InvalidInput, match="no rows"):
        add_pairs(pairs=[], name="votes", source="none")


def test_first_look_tells_format_columns_and_rows(tmp_path: Path) -> None:
    look = look_into(write(tmp_path, [*ROWS, {"prompt": "p"}]), limits=LIMITS)
    assert look.format is not None
    assert (look.format.name, look.columns) == ("trl", ["prompt", "chosen", "rejected"])
    assert len(look.preview) == 21
    other = look_into(write(tmp_path, [{"question": "q"}]), limits=LIMITS)
    assert (other.format, other.columns, other.preview) == (None, ["question"], [])
    thumbs = look_into(write(tmp_path, [{"prompt": "p", "completion": "c", "label": False}]), limits=LIMITS)
    assert thumbs.format is not None
    assert (thumbs.format.name, thumbs.account.bad) == ("kto", 1)


def test_what_the_file_held_beyond_its_pairs_is_stored(session: Session, tmp_path: Path) -> None:
    scored = [
        {**row, "score_chosen": i % 3, "score_rejected": 1, "source": "web"} for i, row in enumerate(ROWS)
    ]
    tools = {**ROWS[0], "tools": [{"name": "clock"}]}
    added = add_dataset(path=write(tmp_path, [*scored, tools, tools]), name="sky")
    session.commit()
    stored = datasets.get(added.id, session=session).account
    reason = "tools cannot be kept in a pair of texts, and without it the row has another meaning"
    assert stored == {
        "unused": {"source": 20},
        "left_out": {reason: 2},
        "scores": {
            "columns": ["score_chosen", "score_rejected"],
            "compared": 20,
            "equal": 7,
            "contradicting": 7,
        },
        "single": {"good": 0, "bad": 0},
        "weights": {"pairs": 0, "mean": 0.0},
        "margins": {"pairs": 0, "mean": 0.0},
        "remarks": [],
    }
    assert added.account.as_dict() == stored


def test_an_index_of_the_better_answer_speaks_for_itself(session: Session, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"q {i}", "response_0": "first", "response_1": "second", "better_response_id": i % 2}
        for i in range(4)
    ]
    mapping = {"prompt": "prompt", "a": "response_0", "b": "response_1", "winner": "better_response_id"}
    added = add_dataset(path=write(tmp_path, rows), name="pku", mapping=mapping)
    chosen = [pair.chosen for pair in datasets.iter_pairs(added.id, session=session)]
    assert chosen == ["first", "second", "first", "second"]
