"""`hypo campaigns`: start, list, follow, pause, extend, close."""

import json
import threading
from pathlib import Path

import pytest

from app import migrate
from app.cli.main import run
from app.settings import Settings
from app.store import workers
from app.store.db import write_session
from tests.app import arena, campaign_setup
from tests.app.cli.test_commands import call, refuse


@pytest.fixture
def runs(settings: Settings) -> list[str]:
    """Two finished runs and a live worker."""
    migrate.upgrade()
    with write_session() as session:
        workers.beat("w", session=session, queues="generate", device="cpu")
        return [str(arena.add_run(session, method, name=method).id) for method in ("dpo", "hypo")]


@pytest.fixture
def lines(tmp_path: Path) -> str:
    """A file of two prompts."""
    (tmp_path / "prompts.txt").write_text("One?\n\nTwo?\n")
    return str(tmp_path / "prompts.txt")


def test_a_campaign_from_start_to_end(
    runs: list[str], lines: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guidelines = tmp_path / "guide.md"
    guidelines.write_text("Be *fair*.")
    asked = ["--run", runs[0], "--run", runs[1], "--prompts", lines, "--votes", "2", "--name", "First"]
    asked += ["--repeats", "0.1", "--checks", "0.05", "--aspect", "helpful"]
    made = call(capsys, "campaigns", "new", *asked, "--guidelines", str(guidelines), "--ask-reason")
    assert (made["repeat_share"], made["check_share"]) == (0.1, 0.05)
    assert (made["id"], made["name"], made["guidelines"], made["ask_reason"]) == (
        1,
        "First",
        "Be *fair*.",
        True,
    )
    assert (made["progress"]["answers"], made["progress"]["votes_wanted"]) == (6, 12)
    assert [found["id"] for found in call(capsys, "campaigns", "list")] == [1]
    assert call(capsys, "campaigns", "pause", "1")["status"] == "paused"
    assert call(capsys, "campaigns", "resume", "1")["status"] == "open"
    extended = call(capsys, "campaigns", "extend", "1", "--votes", "3", "--prompts", write(tmp_path, "More?"))
    assert (extended["votes_wanted"], extended["progress"]["prompts"]) == (3, 3)
    again = call(capsys, "campaigns", "extend", "1", "--repeats", "0.2", "--aspect", "kind")
    assert (again["repeat_share"], again["aspects"]) == (0.2, ["helpful", "kind"])
    changed = call(capsys, "campaigns", "edit", "1", "--name", "Now", "--no-ask-reason", "--adjudicator", "")
    assert (changed["name"], changed["ask_reason"], changed["adjudicators"]) == ("Now", False, [])
    assert changed["guidelines"] == "Be *fair*."
    assert "Give --name" in refuse(capsys, "campaigns", "edit", "1")
    assert "cannot be read" in refuse(capsys, "campaigns", "edit", "1", "--guidelines", str(tmp_path / "no"))
    assert call(capsys, "board", "--campaign", "1", "--aspect", "kind")["games"] == 0
    assert "its aspects: helpful, kind" in refuse(capsys, "board", "--campaign", "1", "--aspect", "nice")
    assert "--campaign" in refuse(capsys, "board", "--aspect", "kind")
    closed = call(capsys, "campaigns", "close", "1")
    assert (closed["status"], closed["progress"]["answered"]) == ("closed", 9)


def write(folder: Path, *questions: str) -> str:
    """A file of prompts as messages."""
    path = folder / "more.jsonl"
    rows = [{"messages": [{"role": "user", "content": question}]} for question in questions]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_the_progress_in_words(runs: list[str], lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaigns", "new", "--run", runs[0], "--run", runs[1], "--prompts", lines]) == 0
    assert "0 of 6 answers to 2 prompts are written." in capsys.readouterr().out
    writing = threading.Timer(
        0.3, campaign_setup.write_answers, (1, lambda _, position: "same" if position else "other"),
        {"failed": [(0, 0)]},
    )  # fmt: skip
    writing.start()
    assert run(["campaigns", "show", "1", "--follow"]) == 0
    writing.join()
    shown = capsys.readouterr()
    assert "5 of 6 answers to 2 prompts are written, 1 failed." in shown.out
    assert "Identical answers, which need no vote: 2 comparisons." in shown.out
    assert "Reference / dpo" in shown.out
    assert "label?campaign=1" in shown.out
    assert "It does not fit." in shown.err
    assert run(["campaigns", "list"]) == 0
    assert "6/6" in capsys.readouterr().out


def test_held_out_prompts_are_asked(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with write_session() as session:
        arena.add_dataset(session, "chats", prompt="How?", held_out=1.0)
    made = call(capsys, "campaigns", "new", "--run", runs[0], "--dataset", "chats", "--count", "3")
    assert made["progress"]["prompts"] == 1


def test_what_cannot_be_done_is_told(
    runs: list[str], lines: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["campaigns", "new", "--run", runs[0]]
    assert "either --dataset or --prompts" in refuse(capsys, *one)
    assert "either --dataset or --prompts" in refuse(capsys, *one, "--prompts", lines, "--dataset", "x")
    assert "is not a file" in refuse(capsys, *one, "--prompts", str(tmp_path / "gone.txt"))
    assert "cannot be read" in refuse(capsys, *one, "--prompts", lines, "--guidelines", str(tmp_path))
    assert "between 2 and 4" in refuse(capsys, *one, "--prompts", lines, "--no-reference")
    assert "no campaign 9" in refuse(capsys, "campaigns", "show", "9")
    call(capsys, *one, "--prompts", lines)
    assert "Give --votes" in refuse(capsys, "campaigns", "extend", "1")


def test_following_needs_a_worker(runs: list[str], lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    with write_session() as session:
        workers.leave("w", session=session)
    assert run(["campaigns", "new", "--run", runs[0], "--prompts", lines]) == 0
    assert "hypo worker" in capsys.readouterr().err
    assert "hypo worker" in refuse(capsys, "campaigns", "show", "1", "--follow")


def test_answers_of_a_file_are_a_contender(
    runs: list[str], lines: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gpt.jsonl"
    rows = [{"prompt": "One?", "answer": "1"}, {"prompt": "Three?", "answer": "3"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    new = ("campaigns", "new", "--run", runs[0], "--no-reference")
    made = call(capsys, *new, "--answers", f"GPT-4={file}")
    assert [found["name"] for found in made["contenders"]] == ["dpo", "GPT-4"]
    assert (made["progress"]["answers"], made["progress"]["answered"]) == (4, 2)
    asked = (*new, "--answers", str(file), "--prompts", lines)
    assert "gpt has no answer to 1 of 2 prompts: “Two?”" in refuse(capsys, *asked)
    assert call(capsys, *asked, "--only-answered")["progress"]["prompts"] == 1
    assert "is not a file" in refuse(capsys, *new, "--answers", "GPT=nowhere.jsonl")
