"""The datasets page's handlers, called without a browser."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from app.store import datasets as store
from app.store.db import read_session
from app.ui.datasets import adding, detail
from app.ui.datasets import mapping as dataset_mapping
from app.ui.datasets import page as datasets_page
from app.ui.datasets import view as dataset_view

ROWS: list[Any] = [
    {
        "prompt": f"Prompt {i} <script>alert(1)</script>",
        "chosen": f"**good** {i} here",
        "rejected": f"bad {i} here",
    }
    for i in range(25)
]


def fields(kind: str = "pair", **values: str) -> list[Any]:
    """Values of the mapping's fields."""
    return [
        kind,
        *(values.get(name, None if name[2:] != "wins" else "") for name in dataset_mapping.NAMES[1:]),
    ]


def request(**query: object) -> Any:
    return SimpleNamespace(query_params={name: str(value) for name, value in query.items()}, username=None)


def write(folder: Path, rows: list[Any]) -> str:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def add(folder: Path, rows: list[Any] = ROWS, name: str = "sky") -> int:
    assert "Added" in adding.add_from_page(write(folder, rows), "", name, 0.1)["message"]
    with read_session() as session:
        return store.resolve(name, session=session).id


@pytest.mark.usefixtures("engine")
def test_file_is_looked_at_then_added_then_listed(tmp_path: Path) -> None:
    file = write(tmp_path, [*ROWS, {"prompt": "p"}])
    shown = adding.look_at(file, "")
    look, name, block = shown["look"], shown["name"], shown["columns"]
    assert "TRL preference. Of the first 26 rows, 25 became pairs." in look
    assert "chosen is empty" in look
    assert name == "pairs"
    assert (block["visible"], block["open"]) == (True, False)
    added = adding.add_from_page(file, "", name, 0.1)
    message = added["message"]
    assert "25 pairs" in message
    assert "1 row left out" in message
    assert "launch?dataset=" in message
    assert "pairs" in added["found"]
    assert added["file"] is None
    page = datasets_page.show(request())
    assert "Datasets" in page["header"]
    assert (page["overview"]["visible"], page["detail"]["visible"]) == (True, False)
    assert page["found"] == added["found"]


@pytest.mark.usefixtures("engine")
def test_one_version_shows_facts_pairs_and_what_was_left_out(tmp_path: Path) -> None:
    dataset_id = add(tmp_path, [*ROWS, {"prompt": ""}])
    page = datasets_page.show(request(id=dataset_id))
    assert f"launch?dataset={dataset_id}" in page["header"]
    assert (page["overview"]["visible"], page["detail"]["visible"]) == (False, True)
    assert "TRL preference" in page["facts"]
    pairs, pages = detail.show_pairs("", "", 3, request(id=dataset_id))
    assert "25 pairs, 3 pages" in pages
    assert "Prompt 20" in pairs
    assert "Token counts appear after" in pairs
    assert "&lt;script&gt;" in pairs
    assert "<script" not in pairs
    assert "**good**" in pairs
    _, pages = detail.show_pairs("", "Prompt 7 ", 1, request(id=dataset_id))
    assert "1 pair, 1 page" in pages
    assert "No pair matches" in detail.show_pairs("held_out", "nowhere", None, request(id=dataset_id))[0]
    assert "prompt missing" in detail.show_left_out(1, request(id=dataset_id))
    assert "There are no more" in detail.show_left_out(9, request(id=dataset_id))
    assert "Always taking the longer answer is right in 100%" in detail.show_check(request(id=dataset_id))


@pytest.mark.usefixtures("engine")
def test_page_without_a_dataset_or_with_an_unknown_one() -> None:
    assert "No datasets yet" in datasets_page.show(request())["found"]
    assert "no dataset has the id 99" in datasets_page.show(request(id=99))["header"].lower()
    assert detail.show_pairs("", "", 1, request()) == ("", "")
    assert detail.show_pairs("", None, 1, request(id=99))[1] != ""  # the value of a field never shown
    assert detail.show_left_out(1, request()) == ""
    assert detail.show_check(request(id="x")) == ""


@pytest.mark.usefixtures("engine")
def test_unknown_format_offers_the_columns(tmp_path: Path) -> None:
    file = write(tmp_path, [{"question": f"q {i}", "good": "a", "bad": "b"} for i in range(3)])
    shown = adding.look_at(file, "sky")
    assert "not recognised" in shown["look"]
    assert "3 became pairs" in shown["look"]
    assert (shown["columns"]["visible"], shown["columns"]["open"]) == (True, True)
    assert (shown["of_pair"]["visible"], shown["of_winner"]["visible"]) == (True, False)
    assert [name for name, _ in shown["chosen"]["choices"]] == ["question", "good", "bad"]
    assert shown["prompt"]["choices"][-1][1] == dataset_mapping.SHARED
    held = {name: shown[name]["value"] for name in ("kind", "prompt", "chosen", "rejected")}
    assert held == {"kind": "pair", "prompt": "question", "chosen": "good", "rejected": "bad"}
    refused = adding.add_from_page(file, "", "sky", 0.1)
    assert "Perhaps: chosen=good,rejected=bad,prompt=question" in refused["message"]
    assert refused["columns"]["visible"] is True
    assert (
        "the prompt"
        in adding.add_from_page(file, "", "sky", 0.1, "", *fields(chosen="good", rejected="bad"))["message"]
    )
    twice = fields(prompt="bad", chosen="good", rejected="bad")
    assert "one column twice" in adding.add_from_page(file, "", "sky", 0.1, "", *twice)["message"]
    good = fields(prompt="question", chosen="good", rejected="bad")
    assert "3 pairs" in adding.add_from_page(file, "", "sky", 0.1, "", *good)["message"]


VOTES = [
    {"prompt": f"q {i}", "reply_left": "a", "reply_right": "b", "vote": vote, "site": "x"}
    for i, vote in enumerate(("left", "right", "tie", "left"))
]


@pytest.mark.usefixtures("engine")
def test_winners_are_guessed_shown_and_added(tmp_path: Path) -> None:
    file = write(tmp_path, VOTES)
    shown = adding.look_at(file, "sky")
    assert "Check the columns above" in shown["look"]
    assert "3 became pairs" in shown["look"]
    assert "a tie: neither answer is preferred" in shown["look"]
    assert "Not used: site (3 rows)." in shown["look"]
    assert (shown["of_pair"]["visible"], shown["of_winner"]["visible"]) == (False, True)
    assert shown["kind"]["value"] == "winner"
    guess = {name: shown[name]["value"] for name in dataset_mapping.NAMES[1:]}
    assert guess | {"system": None} == {
        "prompt": "prompt",
        "system": None,
        "chosen": None,
        "rejected": None,
        "a": "reply_left",
        "b": "reply_right",
        "winner": "vote",
        "a_wins": "left",
        "b_wins": "right",
    }
    message = adding.add_from_page(file, "", "votes", 0.1, "", "winner", *guess.values())["message"]
    assert "3 pairs" in message
    assert "1 row left out: a tie" in message
    assert "vote prefers reply_left where it is left, reply_right where it is right." in message
    with read_session() as session:
        dataset_id = store.resolve("votes", session=session).id
    check = detail.show_check(request(id=dataset_id))
    assert "Not used: site (3 rows)." in check
    assert "vote prefers" in check


@pytest.mark.usefixtures("engine")
def test_preview_follows_the_fields(tmp_path: Path) -> None:
    file = write(tmp_path, VOTES)
    answers = {"prompt": "prompt", "a": "reply_left", "b": "reply_right"}
    look = adding.look_through(file, "", *fields("winner", **answers))["look"]
    assert "Choose a column for the better one." in look
    shown = adding.look_through(file, "", *fields("winner", winner="vote", **answers))
    assert "3 became pairs" in shown["look"]
    assert (shown["of_pair"]["visible"], shown["of_winner"]["visible"]) == (False, True)
    assert (shown["a_wins"]["value"], shown["b_wins"]["value"]) == ("left", "right")
    turned = fields("winner", winner="vote", a_wins="right", b_wins="left", **answers)
    assert "Of the first 4 rows, 3 became pairs" in adding.look_through(file, "", *turned)["look"]
    look = adding.look_through(file, "", *fields("winner", winner="site", **answers))["look"]
    assert "which values of site mean that A or B is better. It holds: x." in look
    assert adding.look_through(file, "", *fields())["look"] == ""
    known = write(tmp_path, ROWS)
    assert "TRL preference" in adding.look_through(known, "", *fields("recognised"))["look"]


@pytest.mark.usefixtures("engine")
def test_scores_that_contradict_are_said_when_adding_and_in_the_check(tmp_path: Path) -> None:
    rows = [{**row, "score_chosen": 2, "score_rejected": 9 - 7 * (i % 2)} for i, row in enumerate(ROWS)]
    file = write(tmp_path, rows)
    sentence = (
        "In 13 of 25 pairs with scores (score_chosen and score_rejected) "
        "the rejected answer has the higher score."
    )
    assert sentence in adding.look_at(file, "")["look"]
    assert sentence in adding.add_from_page(file, "", "scored", 0.1)["message"]
    with read_session() as session:
        dataset_id = store.resolve("scored", session=session).id
    check = detail.show_check(request(id=dataset_id))
    assert sentence in check
    assert "In 12 of 25 pairs" in check
    assert detail.show_check(request(id=99)) != ""


@pytest.mark.usefixtures("engine")
def test_refusals_are_sentences_on_the_page(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_bytes(b"")
    assert "The file is empty" in adding.look_at(str(empty), "")["look"]
    assert adding.look_at(None, "")["look"] == ""
    assert "Choose a file" in adding.add_from_page(None, " ", "sky", 0.1)["message"]
    assert "name" in adding.add_from_page(write(tmp_path, ROWS), "", "", 0.1)["message"]
    assert "is not a hub id" in adding.add_from_page(None, "no id", "sky", 0.1)["message"]
    kto = write(tmp_path, [{"prompt": "p", "completion": "c", "label": True}])
    assert "\u2014 no answer" in adding.look_at(kto, "")["look"]


@pytest.mark.usefixtures("engine")
def test_deleting_leaves_the_page_or_says_why_not(tmp_path: Path) -> None:
    dataset_id = add(tmp_path)
    assert [update["visible"] for update in datasets_page.ask(True)] == [False, True, True]
    assert 'data-next="datasets"' in datasets_page.delete_version(request(id=dataset_id))
    assert "It was deleted" in datasets_page.show(request(id=dataset_id))["header"]
    assert "There is no dataset" in datasets_page.delete_version(request(id=999))


def test_words_that_differ_are_marked_and_others_are_not() -> None:
    chosen, rejected = dataset_view.differing("The sky is <b>blue</b> today", "The sky is green today")
    assert Markup("The sky is <mark") in chosen
    assert "&lt;b&gt;blue&lt;/b&gt;</mark>" in chosen
    assert "green</mark>" in rejected
    assert "<mark" not in "".join(dataset_view.differing("one two three", "four five six seven"))


@settings(deadline=None, database=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_marked_text_still_says_what_it_said(chosen: str, rejected: str) -> None:
    for marked, text in zip(dataset_view.differing(chosen, rejected), (chosen, rejected), strict=True):
        kept = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").replace("\n", "")
        assert marked.replace("<br>", "").striptags().split() == Markup.escape(kept).striptags().split()


@pytest.mark.parametrize(
    ("pairs", "rows", "words"),
    [
        (1, 1, "Its only row became a pair."),
        (0, 1, "Its only row did not become a pair."),
        (1, 3, "Of the first 3 rows, 1 became a pair."),
        (0, 3, "Of the first 3 rows, 0 became pairs."),
    ],
)
def test_rows_and_pairs_are_counted_in_words(pairs: int, rows: int, words: str) -> None:
    assert dataset_view._became(pairs, rows) == words
