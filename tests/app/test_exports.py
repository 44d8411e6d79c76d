"""Exports of votes, read back with plain readers, Hugging Face datasets and our importer."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app import answers, board, held_out_share
from app.errors import InvalidInput, Refused
from app.exports import labels as exports
from app.exports import reading, writers
from app.exports.layouts import LabelFormat
from app.exports.options import Options
from app.exports.writers import FileType
from app.imports import service
from app.store import comparisons, datasets, labels, names, tallies
from app.store.db import read_session, write_session
from app.store.enums import Choice, GenerationStatus
from app.store.models import Label
from hypo_engine.data.formats import Pair, prompt_fraction
from tests.app import arena

AWKWARD = 'He said "no",\nthen =1+1; <b>bold</b> \u2028 and 🦆\r\nleft.'


def export_file(*arguments: Any, **named: Any) -> exports.Exported:
    """Write an export, and return its counts."""
    return exports.export_labels(*arguments, **named)[0]


def cast(session: Session, texts: tuple[str, ...], choice: Choice, **given: Any) -> int:
    """Create a comparison with a vote and return the comparison's id."""
    question = given.pop("question", "Which?")
    comparison = arena.asked(session, texts, question=question, blind=given.pop("blind", False))
    labels.vote(comparison.id, session=session, user=given.pop("user", "ada"), choice=choice, **given)
    return comparison.id


def stop(comparison_id: int, side: int, session: Session) -> None:
    """Mark an answer as stopped; older versions accepted votes on those."""
    row = comparisons.answers(comparison_id, session=session)[side]
    row.status, row.complete = GenerationStatus.STOPPED, False
    ids = session.scalars(select(Label.id).where(Label.comparison_id == comparison_id)).all()
    tallies.count(ids, session=session)


@pytest.fixture
def votes(engine: Engine) -> dict[str, int]:
    """A vote of every kind; returns the ids of the comparisons."""
    with write_session() as session:
        found = {
            "pair": cast(session, ("good", AWKWARD), Choice.BEST, best=1, reason="because", seconds=2.5),
            "tie": cast(session, ("one", "two"), Choice.TIE),
            "bad": cast(session, ("one", "two"), Choice.ALL_BAD),
            "same": cast(session, ("one", "one "), Choice.BEST, best=0),
            "empty": cast(session, ("one", " "), Choice.BEST, best=0),
            "three": cast(session, ("one", "two", "three"), Choice.BEST, best=2, worst=0),
            "stopped": cast(session, ("one", "two and so"), Choice.BEST, best=1),
        }
        stop(found["stopped"], 1, session)
        turn = comparisons.ask(
            comparisons.get(found["pair"], session=session).conversation_id,
            "And then?",
            session=session,
            continues_from=1,
        )
        arena.answer(session, turn, ("later", "never"))
        labels.vote(turn.id, session=session, user="ada", choice=Choice.BEST, best=0)
        own = comparisons.ask(turn.conversation_id, "Each its own?", session=session)
        arena.answer(session, own, ("mine", "yours"))
        labels.vote(own.id, session=session, user="ada", choice=Choice.BEST, best=0)
        return {**found, "turn": turn.id, "own": own.id}


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, with JSON cells in CSV parsed."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {name: json.loads(cell) if cell[:1] == "[" else cell for name, cell in row.items()}
            for row in csv.DictReader(stream)
        ]


@pytest.mark.parametrize("file_type", list(FileType))
def test_trl_holds_the_pairs_and_counts_the_rest(
    votes: dict[str, int], tmp_path: Path, file_type: FileType
) -> None:
    exported = export_file("trl", file_type, folder=tmp_path)
    assert exported.rows == 3
    assert exported.left_out == {
        "ties": 1,
        "all_bad": 1,
        "unfinished_answer": 1,
        "different_histories": 1,
        "same_text": 1,
        "empty_answer": 1,
        "cut_answer": 0,
    }
    rows = read(exported.path)

    def flag(value: bool) -> object:
        return str(value).lower() if file_type is FileType.CSV else value

    assert rows[0] == {
        "prompt": [{"role": "user", "content": "Which?"}],
        "chosen": [{"role": "assistant", "content": AWKWARD}],
        "rejected": [{"role": "assistant", "content": "good"}],
        "chosen_cut": flag(False),
        "rejected_cut": flag(False),
    }
    assert [row["chosen"][0]["content"] for row in rows] == [AWKWARD, "three", "later"]
    assert rows[1]["rejected"][0]["content"] == "one"
    assert [message["role"] for message in rows[2]["prompt"]] == ["user", "assistant", "user"]
    assert rows[2]["prompt"][1]["content"] == AWKWARD
    assert exports.count_trl() == exports.TrlCounts(3, 0, exported.left_out)
    assert exported.cut == 0


@pytest.mark.parametrize("side", [0, 1])
def test_answers_cut_at_the_length_limit_are_marked_and_can_be_left_out(
    engine: Engine, tmp_path: Path, side: int
) -> None:
    with write_session() as session:
        cast(session, ("whole", "answers"), Choice.BEST, best=0)
        comparison = arena.asked(session, ("one", "two"))
        comparisons.answers(comparison.id, session=session)[side].complete = False
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0)
    marked = export_file("trl", "jsonl", folder=tmp_path)
    rows = read(marked.path)
    assert [(row["chosen_cut"], row["rejected_cut"]) for row in rows] == [
        (False, False),
        (side == 0, side == 1),
    ]
    assert (marked.rows, marked.cut, marked.left_out["cut_answer"]) == (2, 1, 0)
    assert exports.count_trl() == exports.TrlCounts(2, 1, marked.left_out)
    whole = export_file("trl", "jsonl", folder=tmp_path, options=Options(leave_out_cut=True))
    assert [row["chosen"][0]["content"] for row in read(whole.path)] == ["whole"]
    assert (whole.rows, whole.cut, whole.left_out["cut_answer"]) == (1, 0, 1)
    assert exports.count_trl(leave_out_cut=True) == exports.TrlCounts(1, 0, whole.left_out)
    assert exports.use_as_dataset("all").rows == 2
    assert exports.use_as_dataset("whole", leave_out_cut=True).rows == 1


def test_votes_on_cut_answers_alone_make_no_dataset_of_whole_ones(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session, ("one", "two"))
        comparisons.answers(comparison.id, session=session)[0].complete = False
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0)
    with pytest.raises(Refused, match="cut at the length limit"):
        exports.use_as_dataset("whole", leave_out_cut=True)


@pytest.mark.parametrize(
    ("format", "file_type"),
    [*((format, FileType.JSONL) for format in LabelFormat), *((LabelFormat.RAW, t) for t in FileType)],
)
def test_an_export_is_made_while_it_is_read(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: LabelFormat, file_type: FileType
) -> None:
    """The first chunk arrives before the last votes are read, and no transaction waits for the reader."""
    for name in ("VERDICTS_A_BATCH", "VOTES_A_BATCH"):
        monkeypatch.setattr(reading, name, 2)
    for name in ("ROWS_A_GROUP", "LINES_A_PIECE"):
        monkeypatch.setattr(writers, name, 2)
    with write_session() as session:
        for n in range(5):
            cast(session, (f"good {n}", "bad"), Choice.BEST, best=0)
    pieces = exports.Export(format, file_type, viewer="bob").pieces()
    begun = [next(pieces), next(pieces)]
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with write_session() as session:
        cast(session, ("the last", "bad"), Choice.BEST, best=0)
    path = tmp_path / f"votes.{file_type.value}"
    path.write_bytes(b"".join([*begun, *pieces]))
    rows = read(path)
    assert len(rows) == (12 if format is LabelFormat.KTO else 6)
    assert "the last" in json.dumps(rows[-2:])


NAMES = ("Reference", "dpo run", "demo", "hypo")


def test_raw_tells_no_names_to_who_may_still_vote_blind(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        secret = cast(session, ("one", "two"), Choice.BEST, best=0, blind=True, reason="Reference is warmer")
        known = cast(session, ("three", "four"), Choice.BEST, best=1)
    for file_type in FileType:
        exported = export_file("raw", file_type, folder=tmp_path, viewer="bob")
        assert (exported.rows, exported.hidden) == (2, 1)
        hidden, shown = read(exported.path)
        assert not re.search("|".join(NAMES), json.dumps({**hidden, "question": ""}))
        assert str(hidden["names_hidden"]).lower() == "true"
        assert shown["model_a"] == "Reference"
    answer = hidden["answers"][0]
    telling = (
        "name",
        "method",
        "run_id",
        "tokens",
        "seconds",
        "policy_logp",
        "reference_logp",
        "token_logps",
    )
    assert [answer[key] for key in telling] == [None] * len(telling)
    assert answer["text"] == "one"
    assert not any(hidden[key] for key in ("best", "worst", "winner", "reason", "choice", "shown"))
    with write_session() as session:
        assert names.seen_among([secret, known], "bob", session=session) == {known}
        assert labels.vote(secret, session=session, user="bob", choice=Choice.TIE).blind
    told = export_file("raw", "jsonl", folder=tmp_path, viewer="bob")
    assert read(told.path)[0]["model_a"] in ("Reference", "dpo run")


def test_who_was_shown_names_by_a_file_votes_no_more_blind(engine: Engine, tmp_path: Path) -> None:
    with write_session() as session:
        comparison_id = cast(session, ("one", "two"), Choice.BEST, best=0, blind=True)
    assert answers.show_all_names(user="bob") == 1
    exported = export_file("raw", "jsonl", folder=tmp_path, viewer="bob")
    assert exported.hidden == 0
    with write_session() as session:
        assert not labels.vote(comparison_id, session=session, user="bob", choice=Choice.TIE).blind


def test_the_board_counts_what_its_reader_may_see(engine: Engine) -> None:
    with write_session() as session:
        secret = cast(session, ("one", "two"), Choice.BEST, best=0, blind=True)
        cast(session, ("three", "four"), Choice.BEST, best=1)

    def read_as(viewer: str | None) -> tuple[int, int, int]:
        with read_session() as session:
            found = board.read_board(session=session, viewer=viewer)
        return found.votes, found.hidden, sum(record.votes for record in found.records)

    assert read_as("bob") == (1, 1, 1)
    assert read_as("ada") == read_as(None) == (2, 0, 2)
    answers.show_names(secret, user="bob")
    assert read_as("bob") == (2, 0, 2)


@pytest.mark.parametrize("file_type", list(FileType))
def test_an_exported_file_comes_back_through_datasets_unchanged(
    votes: dict[str, int], tmp_path: Path, file_type: FileType
) -> None:
    path = export_file("trl", file_type, folder=tmp_path).path
    with write_session() as session:
        added = service.add_dataset(path=path, name="back", held_out=0.0)
    assert (added.format, added.rows, added.left_out_count) == ("trl", 3, 0)
    with read_session() as session:
        pairs = list(datasets.iter_pairs(added.id, session=session))
    rows = read(path)
    assert [pair.prompt for pair in pairs] == [row["prompt"] for row in rows]
    assert [pair.chosen for pair in pairs] == [row["chosen"][0]["content"] for row in rows]
    assert [pair.rejected for pair in pairs] == [row["rejected"][0]["content"] for row in rows]


def test_votes_become_a_dataset_in_one_call(votes: dict[str, int]) -> None:
    first = exports.use_as_dataset("my votes")
    again = exports.use_as_dataset("my votes")
    assert (first.rows, first.version, again.version, first.left_out_count) == (3, 1, 2, 0)
    with read_session() as session:
        made = datasets.get(first.id, session=session)
        assert (made.source, made.format) == ("votes", "votes")
        assert held_out_share.nothing_held_out(made, session=session) == (
            "No pairs are held out, so no run on them can be evaluated on unseen pairs: all "
            "votes are trained on."
        )
    with pytest.raises(InvalidInput):
        exports.use_as_dataset("../votes")


HELD_OUT_PROMPTS = [f"Question {n}?" for n in range(400) if prompt_fraction(f"Question {n}?") < 0.1][:10]


def test_votes_on_held_out_prompts_are_trained_on_and_leave_every_evaluation(engine: Engine) -> None:
    def add(name: str) -> int:
        pairs = [
            Pair(prompt, "good", "bad") for prompt in [*HELD_OUT_PROMPTS, *(f"Other {n}" for n in range(40))]
        ]
        return service.add_pairs(pairs=pairs, name=name, source="test", held_out=0.1).id

    def counts(dataset_id: int) -> datasets.SplitCounts:
        with read_session() as session:
            return datasets.split_counts(dataset_id, session=session)

    before, other = add("votes"), add("other")
    held_out = counts(before).held_out
    assert held_out >= 10
    with write_session() as session:
        for prompt in HELD_OUT_PROMPTS:
            cast(session, ("one", "two"), Choice.BEST, best=0, question=f"  {prompt}")
    made = exports.use_as_dataset("votes")
    assert counts(made.id) == datasets.SplitCounts(train=10, held_out=0, voted=0)
    for earlier in (before, other):
        assert counts(earlier) == datasets.SplitCounts(50 - held_out, held_out - 10, voted=10)
    later = counts(add("votes"))
    assert later == datasets.SplitCounts(60 - held_out, held_out - 10, voted=0)
    assert counts(exports.use_as_dataset("votes").id) == datasets.SplitCounts(10, 0, 0)


def test_an_export_that_is_added_as_a_file_counts_as_votes(engine: Engine, tmp_path: Path) -> None:
    def add(name: str, path: Path | None = None) -> service.AddedDataset:
        pairs = [Pair(prompt, "good", "bad") for prompt in [*HELD_OUT_PROMPTS, "Other 1", "Other 2"]]
        if path is not None:
            return service.add_dataset(path=path, name=name, held_out=0.5)
        return service.add_pairs(pairs=pairs, name=name, source="test", held_out=0.1)

    def counts(dataset_id: int) -> datasets.SplitCounts:
        with read_session() as session:
            return datasets.split_counts(dataset_id, session=session)

    before = add("before")
    assert "voted on" not in " ".join(before.remarks)
    held_out = counts(before.id).held_out
    talk = [{"role": "system", "content": "Be brief."}]
    with write_session() as session:
        for prompt in HELD_OUT_PROMPTS[:4]:
            cast(session, ("one", "two"), Choice.BEST, best=0, question=prompt)
        asked = arena.asked(session, ("one", "two"), question="And now?", opening=talk)
        labels.vote(asked.id, session=session, user="ada", choice=Choice.BEST, best=0)
        cast(session, ("one", "two"), Choice.TIE, question=HELD_OUT_PROMPTS[4])
    exported = export_file(LabelFormat.TRL, FileType.JSONL, folder=tmp_path)
    made = add("after", exported.path)
    assert counts(made.id) == datasets.SplitCounts(train=5, held_out=0, voted=0)
    assert made.remarks[0].startswith("5 prompts were voted on here")
    assert counts(before.id) == datasets.SplitCounts(12 - held_out, held_out - 4, voted=4)
    again = counts(add("before").id)  # the tie's prompt is in it, and was voted on
    assert again == datasets.SplitCounts(12 - held_out + 5, held_out - 5, voted=0)


def test_an_import_says_which_held_out_prompts_nearly_have_votes(engine: Engine) -> None:
    """Another case or other white space make another prompt, which stays in the evaluation."""
    with write_session() as session:
        cast(session, ("one", "two"), Choice.TIE, question=HELD_OUT_PROMPTS[0])
        for prompt in HELD_OUT_PROMPTS[1:3]:
            cast(session, ("one", "two"), Choice.TIE, question=prompt.upper().replace(" ", "  "))
    pairs = [Pair(prompt, "good", "bad") for prompt in [*HELD_OUT_PROMPTS, "Other 1", "Other 2"]]
    made = service.add_pairs(pairs=pairs, name="near", source="test", held_out=0.1)
    voted, nearly = made.remarks
    assert voted.startswith("1 prompt was voted on here")
    assert nearly.startswith("2 held-out prompts differ only in case or white space from prompts")
    with read_session() as session:
        assert datasets.split_counts(made.id, session=session).held_out == len(HELD_OUT_PROMPTS) - 1
    alone = service.add_pairs(pairs=pairs, name="alone", source="test", held_out=0)
    assert "case or white space" not in " ".join(alone.remarks)


def test_without_a_preference_there_is_no_dataset(engine: Engine) -> None:
    with write_session() as session:
        cast(session, ("one", "two"), Choice.TIE)
    with pytest.raises(Refused, match="prefers"):
        exports.use_as_dataset("votes")


@pytest.mark.parametrize("file_type", list(FileType))
def test_raw_holds_every_vote_with_everything(
    votes: dict[str, int], tmp_path: Path, file_type: FileType
) -> None:
    exported = export_file(LabelFormat.RAW, file_type, folder=tmp_path, options=Options(people=True))
    rows = read(exported.path)
    assert exported.rows == len(rows) == 9
    assert [row["winner"] or None for row in rows] == [
        "model_b", "tie", "tie (bothbad)", "model_a", "model_a", None, "model_b", "model_a", "model_a",
    ]  # fmt: skip
    first, three = rows[0], rows[5]
    assert int(first["comparison_id"]) == votes["pair"]
    assert (first["user"], first["choice"], first["best"], first["worst"]) == ("ada", "best", "B", "A")
    assert (first["model_a"], first["model_b"], first["reason"]) == ("Reference", "dpo run", "because")
    assert float(first["seconds"]) == 2.5
    assert str(first["blind"]).lower() == "false"
    assert (int(first["seed"]), int(first["max_new_tokens"])) == (7, 128)
    answer = first["answers"][1]
    assert (answer["letter"], answer["method"], answer["checkpoint_step"]) == ("B", "dpo", 10)
    assert (answer["text"], answer["policy_logp"], answer["reference_logp"]) == (AWKWARD, -4.0, -6.0)
    assert answer["token_logps"][0] == {"token": "He ", "policy": -1.0, "reference": -1.5}
    assert answer["messages"] == [{"role": "user", "content": "Which?"}]
    assert three["shown"] == ["Reference", "dpo run", "hypo run"]
    assert (three["best"], three["worst"]) == ("C", "A")
    assert rows[7]["continues_from"] == "B"


@pytest.mark.parametrize("format", list(LabelFormat))
@pytest.mark.parametrize("file_type", list(FileType))
def test_no_votes_make_a_readable_empty_file(
    engine: Engine, tmp_path: Path, format: LabelFormat, file_type: FileType
) -> None:
    exported = export_file(format, file_type, folder=tmp_path)
    assert exported.rows == 0
    assert read(exported.path) == []
    assert list(tmp_path.glob(".*.part")) == []


def test_unknown_formats_are_refused(settings: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="trl, kto, arena, argilla, raw"):
        export_file("rlhf", "jsonl", folder=tmp_path)
    with pytest.raises(InvalidInput, match="jsonl, csv, parquet"):
        export_file("trl", "xlsx", folder=tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hugging_face_datasets_reads_the_export(
    votes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets as hf

    path = export_file("trl", "jsonl", folder=tmp_path).path
    loaded = hf.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded.column_names == ["prompt", "chosen", "rejected", "chosen_cut", "rejected_cut"]
    assert loaded[0]["chosen"] == [{"role": "assistant", "content": AWKWARD}]


def test_the_board_counts_pairs_and_biases(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session, ("long answer", "short"))
        for user, best in (("ada", 1), ("bob", 1), ("cyd", 0)):
            labels.vote(comparison.id, session=session, user=user, choice=Choice.BEST, best=best)
        labels.vote(comparison.id, session=session, user="dee", choice=Choice.TIE)
    with read_session() as session:
        found = board.read_board(session=session)
    (record,) = found.records
    assert (record.first.method, record.second.method) == ("dpo", "reference")
    assert (record.wins, record.losses, record.ties, record.votes) == (2, 1, 1, 4)
    assert record.win_rate == pytest.approx(2 / 3)
    assert (found.first_side, found.two_sided) == (1, 3)
    assert (found.longer, found.longer_of) == (1, 3)
    assert (found.agreements, found.agreement_of) == (1, 6)


def test_best_and_worst_of_four_are_five_comparisons(engine: Engine) -> None:
    with write_session() as session:
        cast(session, ("a", "b", "c", "d"), Choice.BEST, best=0, worst=3)
    with read_session() as session:
        found = board.read_board(session=session)
    outcomes = Counter((record.wins, record.losses) for record in found.records)
    assert outcomes[1, 0] + outcomes[0, 1] == found.record_count == 5


def test_wilson_and_votes_to_decide() -> None:
    low, high = board.wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert board.wilson(0, 5)[0] == 0.0
    assert board.votes_to_decide(8, 10) == 1
    assert board.votes_to_decide(90, 100) == 0
    assert board.votes_to_decide(5, 10) is None
    assert board.votes_to_decide(0, 0) is None


@pytest.mark.parametrize("cell", ['[{"role": "user"', '[{"a": 1}]', "[{not json}]", '[{"role": 1}, 2]'])
def test_a_csv_cell_that_only_looks_like_messages_stays_text(
    engine: Engine, tmp_path: Path, cell: str
) -> None:
    path = tmp_path / "odd.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["prompt", "chosen", "rejected"], [cell, "yes", "no"]])
    with write_session() as session:
        added = service.add_dataset(path=path, name="odd", held_out=0.0)
    with read_session() as session:
        (pair,) = datasets.iter_pairs(added.id, session=session)
    assert pair.prompt == cell
