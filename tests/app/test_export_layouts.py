"""The layouts of exports for other tools, pseudonyms, merged votes and the manifest."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID
from zipfile import ZipFile

import pandas as pd
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.exports.labels import Export, export_labels, use_as_dataset
from app.exports.layouts import LabelFormat
from app.exports.options import Options
from app.imports import service
from app.store import datasets, labels
from app.store.db import read_session, write_session
from app.store.enums import Choice
from app.store.label_queries import VoteFilter
from tests.app.test_exports import cast, read, stop


def also(comparison_id: int, user: str, choice: Choice, session: Session, **given: Any) -> None:
    """Another person's vote on a comparison."""
    labels.vote(comparison_id, session=session, user=user, choice=choice, **given)


def export(format: str, folder: Path, *, file_type: str = "jsonl", **given: Any) -> list[dict[str, Any]]:
    """The rows of an export."""
    return read(export_labels(format, file_type, folder=folder, **given)[0].path)


def said(pair: dict[str, Any]) -> tuple[str, str]:
    return pair["chosen"][0]["content"], pair["rejected"][0]["content"]


def test_kto_judges_answers_one_by_one(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        cast(session, ("good", "bad"), Choice.BEST, best=0)
        cast(session, ("wrong", "worse"), Choice.ALL_BAD)
        cast(session, ("one", "two", "three"), Choice.BEST, best=2, worst=0)
        cast(session, ("one", "two"), Choice.TIE)
        cast(session, ("fine", " "), Choice.BEST, best=0)
        stop(cast(session, ("whole", "half"), Choice.BEST, best=0), 1, session)
    exported, manifest = export_labels("kto", "jsonl", folder=tmp_path)
    rows = read(exported.path)
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("good", True), ("bad", False), ("wrong", False), ("worse", False), ("three", True), ("one", False),
        ("fine", True), ("whole", True),
    ]  # fmt: skip
    assert rows[0]["prompt"] == [{"role": "user", "content": "Which?"}]
    assert {reason: found["count"] for reason, found in manifest["left_out"].items()} == {
        "ties": 1,
        "empty_answer": 1,
        "unfinished_answer": 1,
    }


def test_arena_has_lmarenas_columns_and_comes_back_as_a_dataset(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        first = cast(session, ("good", "bad"), Choice.BEST, best=0)
        cast(session, ("one", "two"), Choice.ALL_BAD)
        cast(session, ("one", "two", "three"), Choice.BEST, best=2, worst=0)
        cast(session, ("three", "four"), Choice.TIE, blind=True)
    exported, manifest = export_labels("arena", "jsonl", folder=tmp_path, viewer="bob")
    rows = read(exported.path)
    assert [row["winner"] for row in rows] == ["model_a", "tie (bothbad)"]
    assert {reason: found["count"] for reason, found in manifest["left_out"].items()} == {
        "more_than_two_answers": 1,
        "names_hidden": 1,
    }
    row = rows[0]
    assert (row["question_id"], row["model_a"], row["model_b"]) == (str(first), "Reference", "dpo run")
    assert row["conversation_a"] == [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": "good"},
    ]
    assert (row["turn"], row["anony"]) == (1, False)
    with write_session() as session:
        added = service.add_dataset(path=exported.path, name="arena", held_out=0.0)
    with read_session() as session:
        [pair] = datasets.iter_pairs(added.id, session=session)
    assert (pair.chosen, pair.rejected) == ("good", "bad")


def test_an_argilla_record_has_the_responses_of_all_voters(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        pair = cast(session, ("good", "bad"), Choice.BEST, best=0)
        also(pair, "bob", Choice.TIE, session)
        cast(session, ("one", "two", "three"), Choice.BEST, best=2, worst=0)
    first, second = export("argilla", tmp_path)
    assert (first["id"], first["fields"]["response_1"], first["fields"]["response_3"]) == (
        str(pair),
        "good",
        None,
    )
    assert first["metadata"]["model_2"] == "dpo run"
    preference = first["responses"]["preference"]
    assert [response["value"] for response in preference] == ["response_1", "tie"]
    assert len({UUID(response["user_id"]) for response in preference}) == 2
    assert second["responses"]["preference"][0]["value"] == "response_3"
    table = pd.read_parquet(export_labels("argilla", "parquet", folder=tmp_path)[0].path)
    assert table["fields"][0]["response_2"] == "bad"


@pytest.mark.parametrize("format", list(LabelFormat))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pandas_and_datasets_read_every_file(engine: Engine, tmp_path: Path, format: LabelFormat) -> None:
    import datasets as hf

    with write_session() as session:
        cast(session, ("good", "bad"), Choice.BEST, best=0)
        cast(session, ('=1+1, "quoted"', "two\nlines"), Choice.BEST, best=1)
    readers = {"jsonl": partial(pd.read_json, lines=True), "csv": pd.read_csv, "parquet": pd.read_parquet}
    for file_type, reader in readers.items():
        exported, _manifest = export_labels(format, file_type, folder=tmp_path)
        table = reader(exported.path)
        loaded = hf.load_dataset(
            "json" if file_type == "jsonl" else file_type,
            data_files=str(exported.path),
            cache_dir=str(tmp_path / "cache"),
            split="train",
        )
        assert len(table) == len(loaded) == exported.rows > 0, file_type
        assert list(table.columns) == loaded.column_names, file_type


def test_merged_votes_say_how_people_agree(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        split = cast(session, ("good", "bad"), Choice.BEST, best=0)
        also(split, "bob", Choice.BEST, session, best=0)
        also(split, "cyd", Choice.BEST, session, best=1)
        also(split, "dan", Choice.TIE, session)
        even = cast(session, ("good", "bad"), Choice.BEST, best=0)
        also(even, "bob", Choice.BEST, session, best=1)
        cast(session, ("one", "two"), Choice.ALL_BAD)
        cast(session, ("sure", "not"), Choice.BEST, best=0)
        three = cast(session, ("one", "two", "three"), Choice.BEST, best=2, worst=0)
        also(three, "bob", Choice.BEST, session, best=1, worst=0)
        also(three, "cyd", Choice.BEST, session, best=2, worst=1)
    exported, manifest = export_labels("trl", "jsonl", folder=tmp_path, options=Options(merge=True))
    rows = read(exported.path)
    found = [
        (*(row[name] for name in ("votes", "weight", "margin", "soft_label")), *said(row)) for row in rows
    ]
    assert found == [
        (4, 4.0, 0.25, 0.625, "good", "bad"),
        (1, 1.0, 1.0, 1.0, "sure", "not"),
        (3, 3.0, 1.0, 1.0, "three", "one"),
    ]
    assert {reason: entry["count"] for reason, entry in manifest["left_out"].items()} == {
        "ties": 1,
        "all_bad": 1,
    }
    weighed = [("good", 4.0, 0.25), ("sure", 1.0, 1.0), ("three", 3.0, 1.0)]
    table, _ = export_labels("trl", "csv", folder=tmp_path, options=Options(merge=True))
    for added in (
        service.add_dataset(path=exported.path, name="back", held_out=0),
        service.add_dataset(path=table.path, name="back", held_out=0),
        use_as_dataset("in one click", merge=True),
    ):
        with read_session() as session:
            pairs = list(datasets.iter_pairs(added.id, session=session))
        assert [(pair.chosen, pair.weight, pair.margin) for pair in pairs] == weighed
        assert (added.account.weights.pairs, added.account.weights.mean) == (2, 3.5)
    for merge, others in ((True, 3), (False, 9)):  # of the comparison whose answers are both bad
        kept = use_as_dataset("with bad ones", merge=merge, bad=True)
        with read_session() as session:
            pairs = list(datasets.iter_pairs(kept.id, session=session))
        assert [(pair.chosen, pair.rejected, pair.weight) for pair in pairs[others:]] == [
            ("", "one", 1.0),
            ("", "two", 1.0),
        ]
        assert (kept.account.good, kept.account.bad) == (0, 2)


def test_people_are_pseudonyms_unless_their_names_are_asked_for(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        pair = cast(session, ("good", "bad"), Choice.BEST, best=0)
        also(pair, "bob", Choice.TIE, session)
        cast(session, ("one", "two"), Choice.TIE)
    for format, column in (("raw", "user"), ("arena", "judge")):
        hidden = [row[column] for row in export(format, tmp_path)]
        assert hidden[0] == hidden[2] != hidden[1]
        assert not {"ada", "bob"} & set(hidden)
        named = [row[column] for row in export(format, tmp_path, options=Options(people=True))]
        assert named == ["ada", "bob", "ada"]


def test_the_manifest_says_what_is_in_the_file(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        cast(session, ("good", "bad"), Choice.BEST, best=0)
        cast(session, ("one", "two"), Choice.TIE)
        cast(session, ("one", "two"), Choice.BEST, best=0, user="bob")
    made = Export("trl", "csv", only=VoteFilter(user="ada"), licence=" CC BY 4.0 ")
    with ZipFile(made.write_archive(tmp_path)) as archive:
        assert archive.namelist() == ["votes_trl.csv", "manifest.json"]
        content, manifest = archive.read("votes_trl.csv"), json.loads(archive.read("manifest.json"))
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert (manifest["bytes"], manifest["rows"], manifest["licence"]) == (len(content), 1, "CC BY 4.0")
    assert manifest["filters"] == {"user": "ada"}
    assert list(manifest["columns"])[:3] == ["prompt", "chosen", "rejected"]
    assert manifest["left_out"]["ties"] == {"count": 1, "because": "ties prefer neither answer"}
    assert Export("trl", "csv").manifest()["licence"].startswith("not stated")
    with pytest.raises(InvalidInput, match="licence"):
        Export("trl", "csv", licence="x" * 201)
