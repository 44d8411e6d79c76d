"""Asking and voting on the command line: blind until the vote, whole conversations, lists without names."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app import migrate
from app.cli.main import run
from app.settings import Settings
from app.store import comparisons, labels, workers
from app.store.db import read_session, write_session
from app.store.enums import Choice
from tests.app import arena
from tests.app.cli.test_commands import call, refuse

NAME = "walnut"
PROMPT = [
    {"role": "system", "content": "Be a cook."},
    {"role": "user", "content": "Something sweet?"},
    {"role": "assistant", "content": "A cake."},
    {"role": "user", "content": "but what if it has a pin"},
]


@pytest.fixture
def run_id(settings: Settings) -> int:
    """A finished run on a dataset with one held-out conversation, and a live worker."""
    migrate.upgrade()
    with write_session() as session:
        dataset = arena.add_dataset(session, "chats", prompt=PROMPT, held_out=1.0)
        workers.beat("w", session=session, queues="generate", device="cpu")
        return arena.add_run(session, "hypo", name=NAME, dataset_id=dataset.id).id


@contextmanager
def answering() -> Iterator[None]:
    """Answer the questions asked in the block, once, as a worker would."""

    def answer() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with write_session() as session:
                newest = comparisons.count(session=session)
                if newest and not comparisons.answers(newest, session=session)[0].text:
                    comparison = comparisons.get(newest, session=session)
                    arena.answer(session, comparison, ("because", "therefore"))
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join()


def chat(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    with answering():
        return call(capsys, "chat", *arguments)


def test_chat_is_blind_until_the_vote(run_id: int, capsys: pytest.CaptureFixture[str]) -> None:
    asked = chat(capsys, "Why?", "--run", str(run_id))
    assert [answer["name"] for answer in asked["answers"]] == [None, None]
    assert [answer["seconds"] for answer in asked["answers"]] == [None, None]
    number = str(asked["comparison_id"])
    voted = call(capsys, "labels", "vote", number, "B", "--reason", "shorter")
    assert (voted["blind"], voted["best_letter"], voted["reason"]) == (True, "B", "shorter")
    assert sorted(voted["shown"]) == ["Reference", NAME]
    changed = call(capsys, "labels", "vote", number, "A")
    assert (changed["blind"], changed["reason"], changed["versions"]) == (False, "", 2)
    assert run(["labels", "withdraw", str(voted["id"])]) == 0
    capsys.readouterr()
    assert call(capsys, "labels", "list") == []


def test_chat_in_words_says_how_to_vote(run_id: int, capsys: pytest.CaptureFixture[str]) -> None:
    with answering():
        assert run(["chat", "Why?", "--run", str(run_id)]) == 0
    said = capsys.readouterr().out
    assert "hypo labels vote 1 A" in said
    assert NAME not in said
    assert run(["labels", "names", "1"]) == 0
    assert NAME in capsys.readouterr().out
    assert run(["labels", "vote", "1", "tie"]) == 0
    assert "not blind" in capsys.readouterr().out


def test_chat_says_what_it_waits_for(run_id: int, capsys: pytest.CaptureFixture[str]) -> None:
    with write_session() as session:
        workers.beat("w", session=session, queues="generate", device="cpu", loading="demo")
    brief = ("--timeout", "1", "--run", str(run_id))
    assert run(["chat", "Why?", *brief]) == 1
    said = capsys.readouterr()
    assert said.err.count("loads a model for something else first.") == 1
    assert "loads a model" not in said.out
    assert run(["chat", "Why not?", *brief, "--json"]) == 1
    said = capsys.readouterr()
    assert "1 question is before yours" in said.out
    assert "before yours" not in said.err


def test_names_may_be_shown_at_once(run_id: int, capsys: pytest.CaptureFixture[str]) -> None:
    asked = chat(capsys, "Why?", "--run", str(run_id), "--names")
    assert [answer["name"] for answer in asked["answers"]] == ["Reference", NAME]
    assert call(capsys, "labels", "vote", "1", "A")["blind"] is False


def test_a_held_out_prompt_is_asked_with_its_history(run_id: int, capsys: pytest.CaptureFixture[str]) -> None:
    asked = chat(capsys, "--held-out", "--run", str(run_id))
    assert (asked["opening"], asked["question"]) == (PROMPT[:3], PROMPT[3]["content"])
    with read_session() as session:
        rows = comparisons.answers(asked["comparison_id"], session=session)
    assert [row.prompt.content for row in rows] == [PROMPT, PROMPT]
    with answering():
        assert run(["chat", "--held-out", "--run", str(run_id)]) == 0
    said = capsys.readouterr().out
    for message in PROMPT:
        assert message["content"] in said
    assert "not both" in refuse(capsys, "chat", "Why?", "--held-out")
    assert "Give a question" in refuse(capsys, "chat")


def test_lists_and_files_tell_no_names_to_who_may_vote_blind(
    run_id: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with write_session() as session:
        number = arena.asked(session, blind=True).id
        labels.vote(number, session=session, user="ada", choice=Choice.BEST, best=0, reason="Reference")
    path = tmp_path / "raw.jsonl"
    (listed,) = call(capsys, "labels", "list")
    assert (listed["names_hidden"], listed["shown"], listed["best"], listed["reason"]) == (
        True,
        None,
        None,
        None,
    )
    assert run(["labels", "list"]) == 0
    assert "Reference" not in capsys.readouterr().out
    export = ("labels", "export", "--format", "raw", "--output", str(path))
    assert call(capsys, *export)["names_hidden"] == 1
    assert "Reference" not in path.read_text()
    assert call(capsys, *export, "--names")["names_hidden"] == 0
    assert "Reference" in path.read_text()
    (listed,) = call(capsys, "labels", "list")
    assert sorted(listed["shown"]) == ["Reference", "dpo run"]
    assert call(capsys, "labels", "vote", str(number), "A")["blind"] is False


def test_cut_answers_are_counted_and_can_be_left_out(
    run_id: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
        comparisons.answers(comparison.id, session=session)[0].complete = False
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0)
    export = ("labels", "export", "--format", "trl", "--output", str(tmp_path / "pairs.jsonl"))
    assert [call(capsys, *export)[key] for key in ("rows", "cut")] == [1, 1]
    whole = call(capsys, *export, "--whole")
    assert (whole["rows"], whole["cut"], whole["left_out"]["cut_answer"]) == (0, 0, 1)


def test_the_board_ranks_the_models(run_id: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["board"]) == 0
    assert "No votes compare two models yet" in capsys.readouterr().out
    with write_session() as session:
        comparison = arena.asked(session)
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1)
    shown = call(capsys, "board")
    assert [model["name"] for model in shown["models"]] == ["dpo run", "Reference"]
    assert shown["models"][0]["against_reference"]["rate"] == 1
    assert run(["board"]) == 0
    said = capsys.readouterr().out
    assert "Win rates are against Reference." in said
    assert "at least 5 prompts" in said
    other = call(capsys, "board", "--reference", str(shown["models"][0]["id"]))
    assert other["reference"] == shown["models"][0]["id"]
    assert "No model 4711" in refuse(capsys, "board", "--reference", "4711")
