"""Mappings: columns by name, winners by value, exports of arenas and annotation tools, and first guesses."""

import json
from typing import Any

import pytest

from hypo_engine.data.formats import (
    AnyMapping,
    ColumnMapping,
    Format,
    Kept,
    LeftOut,
    Pair,
    WinnerMapping,
    convert,
    detect,
    read_mapping,
)
from hypo_engine.data.proposal import column_names, propose, values_of, wins_of
from hypo_engine.errors import DataError


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def only(row: dict[str, Any], how: AnyMapping | Format) -> Kept | LeftOut:
    (result,) = convert([(1, row)], how)
    return result


def pair_of(row: dict[str, Any], how: AnyMapping | Format) -> Pair:
    result = only(row, how)
    assert isinstance(result, Kept), result
    return result.pair


def reason_of(row: dict[str, Any], how: AnyMapping | Format) -> str:
    result = only(row, how)
    assert isinstance(result, LeftOut), result
    return result.reason


BY_WORD = WinnerMapping("question", "reply_a", "reply_b", "winner", ("a", "left"), ("b", "right"))
ROW = {"question": "Sky?", "reply_a": "Blue", "reply_b": "Red", "winner": "a"}
A_WINS, B_WINS = Pair("Sky?", "Blue", "Red"), Pair("Sky?", "Red", "Blue")


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ("a", A_WINS),
        (" B ", B_WINS),
        ("left", A_WINS),
        (["a"], A_WINS),
        (["b", "a", "b"], B_WINS),
        (["a", "tie", None], A_WINS),
        ({"selected": "right"}, B_WINS),
        ([{"selected": "left"}], A_WINS),
        ('[{"selected": "left"}]', A_WINS),
        ("['b']", B_WINS),
        ({"choices": ["a"]}, A_WINS),
        ([{"value": "a", "rank": 2}, {"value": "b", "rank": 1}], B_WINS),
    ],
)
def test_winner_is_the_chosen_answer(value: object, pair: Pair) -> None:
    assert pair_of({**ROW, "winner": value}, BY_WORD) == pair


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("tie", "a tie: neither"),
        ("Tie", "a tie: neither"),
        ("both", "a tie: neither"),
        ("no preference", "a tie: neither"),
        ("tie (bothbad)", "both answers are bad"),
        ("both_bad", "both answers are bad"),
        ("Both are bad", "both answers are bad"),
        (["a", "b"], "the annotators are divided"),
        ([{"value": "a", "rank": 1}, {"value": "b", "rank": 1}], "a tie: neither"),
        (None, "winner is empty: nobody chose"),
        ([], "winner is empty: nobody chose"),
        ([{"selected": None}], "winner is empty: nobody chose"),
        ("c", "winner holds a value that names neither answer"),
        (0, "winner holds a value that names neither answer"),
        ("[a", "winner holds a value that names neither answer"),
    ],
)
def test_row_without_a_winner_is_left_out_for_its_reason(value: object, reason: str) -> None:
    assert reason in reason_of({**ROW, "winner": value}, BY_WORD)


@pytest.mark.parametrize(
    ("value", "pair"),
    [(-2, A_WINS), ("-1", A_WINS), (1.0, B_WINS), ("3", B_WINS), (0, None), ("high", None), (True, None)],
)
def test_bounds_read_a_scale(value: object, pair: Pair | None) -> None:
    scale = WinnerMapping("question", "reply_a", "reply_b", "winner", ("<0",), (">= 1",))
    result = only({**ROW, "winner": value}, scale)
    assert (result.pair if isinstance(result, Kept) else None) == pair


@pytest.mark.parametrize(("value", "pair"), [(0, A_WINS), (1, B_WINS), ("1.0", B_WINS), (1.0, B_WINS)])
def test_numbers_are_words_too(value: object, pair: Pair) -> None:
    numbers = WinnerMapping("question", "reply_a", "reply_b", "winner", ("0",), ("1",))
    assert pair_of({**ROW, "winner": value}, numbers) == pair


def test_winners_of_conversations_need_no_prompt_and_take_a_system_text() -> None:
    before = [user("Hi"), assistant("Hello"), user("Sky?")]
    row = {"a": [*before, assistant("Blue")], "b": [*before, assistant("Red")], "w": "b", "s": "Be brief."}
    pair = pair_of(row, WinnerMapping(None, "a", "b", "w", ("a",), ("b",), system="s"))
    assert pair == Pair([{"role": "system", "content": "Be brief."}, *before], "Red", "Blue")


def test_scores_of_a_and_b_are_turned_as_the_winner_says() -> None:
    for winner, sign in (("a", -1), ("b", 1)):
        result = only({**ROW, "winner": winner, "score_a": 2, "score_b": 5, "model_a": "x"}, BY_WORD)
        assert isinstance(result, Kept)
        assert (result.score and result.score.sign, result.unused) == (sign, ("model_a",))


def test_paths_lead_into_objects_and_lists() -> None:
    row = {
        "id": 7,
        "data": {"prompt": "Sky?", "answer1": "Blue", "answer2": "Red", "source": "x"},
        "annotations": [
            {"id": 1, "result": [{"type": "pairwise", "value": {"selected": "left"}}]},
            {"id": 2, "result": [{"type": "pairwise", "value": {"selected": "left"}}]},
            {"id": 3, "result": []},
        ],
    }
    winner = "annotations.result.value.selected"
    how = WinnerMapping("data.prompt", "data.answer1", "data.answer2", winner, ("left",), ("right",))
    assert only(row, how) == Kept(1, A_WINS, unused=("id", "data.source"))
    assert "column 'data.answer3' missing" in reason_of(
        row, ColumnMapping("data.prompt", "data.answer3", "id")
    )
    dotted = {"p": "Sky?", "r.1": "Blue", "r.2": "Red", "best.responses": ["r.2"]}
    assert pair_of(dotted, WinnerMapping("p", "r.1", "r.2", "best.responses", ("r.1",), ("r.2",))) == B_WINS


def test_column_mapping_takes_a_system_column_and_names_the_rest() -> None:
    row = {"q": "Sky?", "good": "Blue", "bad": "Red", "sys": "Be brief.", "question": "Why?", "n": 1}
    result = only(row, ColumnMapping("q", "good", "bad", "sys"))
    turns = [{"role": "system", "content": "Be brief."}, user("Sky?")]
    assert result == Kept(1, Pair(turns, "Blue", "Red"), unused=("question", "n"))
    without = {name: value for name, value in row.items() if name != "sys"}
    assert pair_of(without, ColumnMapping("q", "good", "bad", "sys")).prompt == turns[1:]


@pytest.mark.parametrize(
    ("given", "mapping"),
    [
        ({"chosen": "c", "rejected": "r"}, ColumnMapping(None, "c", "r")),
        (
            {"prompt": "p", "chosen": "c", "rejected": "r", "a": "", "a_wins": []},
            ColumnMapping("p", "c", "r"),
        ),
        (
            {
                "prompt": "p",
                "system": "s",
                "a": "x",
                "b": "y",
                "winner": "w",
                "a_wins": "1, left",
                "b_wins": [2],
            },
            WinnerMapping("p", "x", "y", "w", ("1", "left"), ("2",), "s"),
        ),
    ],
)
def test_mapping_is_read_from_plain_values(given: dict[str, Any], mapping: AnyMapping) -> None:
    assert read_mapping(given) == mapping


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "which column is chosen and rejected"),
        ({"prompt": "p", "chosen": "c"}, "which column is rejected"),
        ({"a": "x", "winner": "w"}, "which column is b"),
        ({"a": "x", "b": "y", "winner": "w"}, "which values of the winner's column"),
        ({"a": "x", "b": "y", "winner": "w", "a_wins": "1", "b_wins": "1"}, "one value .* to both"),
        ({"a": "x", "b": "x", "winner": "w", "a_wins": "1", "b_wins": "2"}, "one column twice"),
        ({"a": "x", "b": "y", "winner": "w", "chosen": "c"}, "cannot have chosen here"),
        ({"chosen": "c", "rejected": "r", "promt": "p"}, "cannot have promt here"),
        ({"chosen": 3, "rejected": "r"}, "chosen must be a column's name, not a number"),
        ({"chosen": "c", "rejected": "c"}, "one column twice"),
    ],
)
def test_mapping_that_says_too_little_or_too_much_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_mapping(given)


# Arenas.


def test_lmarena_votes_are_recognised_and_ties_left_out() -> None:
    row = {
        "question_id": "1",
        "model_a": "m1",
        "model_b": "m2",
        "winner": "model_b",
        "conversation_a": [user("Sky?"), assistant("Blue")],
        "conversation_b": [user("Sky?"), {"role": "assistant", "content": [{"type": "text", "text": "Red"}]}],
    }
    how = detect([row])
    assert how is not None
    assert how.name == "lmarena"
    assert pair_of(row, how) == Pair([user("Sky?")], "Red", "Blue")
    as_text = {name: str(value) for name, value in row.items()}
    assert pair_of(as_text, how) == Pair([user("Sky?")], "Red", "Blue")
    for winner, reason in (
        ("tie", "a tie"),
        ("tie (bothbad)", "both answers are bad"),
        ("both_bad", "are bad"),
    ):
        assert reason in reason_of({**row, "winner": winner}, how)


def test_a_column_an_outcome_is_recognised() -> None:
    row = {
        "prompt": json.dumps(["Hi", "Sky?"]),
        "response_a": json.dumps(["Hello", "Blue"]),
        "response_b": json.dumps(["Hello", "Red"]),
        "winner_model_a": 0,
        "winner_model_b": 1,
        "winner_tie": 0,
    }
    how = detect([row])
    assert how is not None
    turns = [user("Hi"), assistant("Hello"), user("Sky?")]
    assert only(row, how) == Kept(1, Pair(turns, "Red", "Blue"))
    plain = {**row, "prompt": "Sky?", "response_a": "Blue", "response_b": "Red"}
    assert pair_of({**plain, "winner_model_a": "1", "winner_model_b": "0"}, how).chosen == "Blue"
    assert "a tie" in reason_of({**row, "winner_model_b": 0, "winner_tie": 1}, how)
    assert "different numbers of turns" in reason_of({**row, "response_a": "Blue"}, how)


def open_webui_row(rating: object, answers: int = 2) -> dict[str, Any]:
    ids = [f"answer {i}" for i in range(answers)]
    messages: dict[str, Any] = {
        "s": {"id": "s", "parentId": None, "childrenIds": ["old"], "role": "user", "content": "Hi"},
        "old": {"id": "old", "parentId": "s", "childrenIds": ["q"], "role": "assistant", "content": "Hello"},
        "q": {"id": "q", "parentId": "old", "childrenIds": ids, "role": "user", "content": "Sky?"},
    }
    for i, key in enumerate(ids):
        content = ["Blue", "Red", "Green"][i]
        messages[key] = {
            "id": key,
            "parentId": "q",
            "childrenIds": [],
            "role": "assistant",
            "content": content,
            "model": f"m{i}",
        }
    return {
        "id": "f",
        "type": "rating",
        "data": {"rating": rating, "model_id": "m0", "sibling_model_ids": ["m1"]},
        "meta": {"message_id": "answer 0", "arena": True},
        "snapshot": {
            "chat": {"title": "t", "chat": {"history": {"messages": messages, "currentId": "answer 1"}}}
        },
    }


def test_open_webui_ratings_compare_the_two_answers_to_a_question() -> None:
    how = detect([open_webui_row(1)])
    assert how is not None
    turns = [user("Hi"), assistant("Hello"), user("Sky?")]
    result = only(open_webui_row(1), how)
    assert result == Kept(1, Pair(turns, "Blue", "Red"), unused=("id", "type"))
    assert pair_of(open_webui_row(-1), how) == Pair(turns, "Red", "Blue")
    assert "neither a thumb up" in reason_of(open_webui_row(None), how)
    assert "0 other answers" in reason_of(open_webui_row(1, answers=1), how)
    assert "2 other answers" in reason_of(open_webui_row(1, answers=3), how)
    lost = open_webui_row(1) | {"meta": {"message_id": "nowhere"}}
    assert "does not contain the rated answer" in reason_of(lost, how)
    assert "snapshot holds no messages" in reason_of(open_webui_row(1) | {"snapshot": {"chat": None}}, how)


# First guesses.

CONVERSATIONS = {name: [user("Sky?"), assistant(name)] for name in ("conversation_a", "conversation_b")}
ARGILLA = {"id": "1", "instruction": "Sky?", "response-1": "Blue", "response-2": "Red"}
STUDIO = {"id": 1, "data": {"prompt": "Sky?", "answer1": "Blue", "answer2": "Red"}}


@pytest.mark.parametrize(
    ("rows", "proposal"),
    [
        (
            [{"question": "q", "good": "a", "bad": "b"}],
            {"prompt": "question", "chosen": "good", "rejected": "bad"},
        ),
        (
            [{"Prompt": "q", "Chosen": "a", "Rejected": "b", "System": "s", "Chosen Model": "m"}],
            {"prompt": "Prompt", "chosen": "Chosen", "rejected": "Rejected", "system": "System"},
        ),
        (
            [
                {"model_a": "m", "model_b": "n", "winner": w, **CONVERSATIONS}
                for w in ("model_a", "model_b", "tie")
            ],
            {
                "a": "conversation_a",
                "b": "conversation_b",
                "winner": "winner",
                "a_wins": ["model_a"],
                "b_wins": ["model_b"],
            },
        ),
        (
            [
                {**ARGILLA, "best.responses": [w], "best.responses.users": ["u"]}
                for w in ("response-1", "response-2")
            ],
            {
                "prompt": "instruction",
                "a": "response-1",
                "b": "response-2",
                "winner": "best.responses",
                "a_wins": ["response-1"],
                "b_wins": ["response-2"],
            },
        ),
        (
            [{**STUDIO, "annotations": [{"result": [{"value": {"selected": "left"}, "from_name": "x"}]}]}],
            {
                "prompt": "data.prompt",
                "a": "data.answer1",
                "b": "data.answer2",
                "winner": "annotations.result.value.selected",
                "a_wins": ["left"],
                "b_wins": ["right"],
            },
        ),
        (
            [{"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": i} for i in (0, 1)],
            {
                "prompt": "prompt",
                "a": "response_0",
                "b": "response_1",
                "winner": "better_response_id",
                "a_wins": ["0"],
                "b_wins": ["1"],
            },
        ),
        (
            [{"post": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": i} for i in (0, 1)],
            {
                "prompt": "post",
                "a": "human_ref_A",
                "b": "human_ref_B",
                "winner": "labels",
                "a_wins": [],
                "b_wins": [],
            },
        ),
        (
            [{"prompt": "q", "response1": "a", "response2": "b", "preference": i} for i in (-2, 1)],
            {
                "prompt": "prompt",
                "a": "response1",
                "b": "response2",
                "winner": "preference",
                "a_wins": [],
                "b_wins": [],
            },
        ),
        ([{"x": 1}, None, "text"], {}),
    ],
)
def test_proposal_says_what_names_and_values_speak_for(rows: list[Any], proposal: dict[str, Any]) -> None:
    found = propose(rows)
    assert found == proposal
    if proposal.get("a_wins", True) and proposal:
        mapping = read_mapping(found)
        assert isinstance(only(rows[0], mapping), Kept)


ONE_TWO, AB = ("response_1", "response_2"), ("answer_a", "answer_b")


@pytest.mark.parametrize(
    ("values", "sides", "wins"),
    [
        (["1", "2"], ONE_TWO, (["1"], ["2"])),
        (["2", "1", "tie"], ONE_TWO, (["1"], ["2"])),
        (["response_1", "response_2", "both bad"], ONE_TWO, (["response_1"], ["response_2"])),
        (["left", "right"], ONE_TWO, (["left"], ["right"])),
        (["a"], AB, (["a"], ["b"])),
        (["A is better", "B is better", "It's a tie"], AB, (["a is better"], ["b is better"])),
        (["A", "B", "a tie"], AB, (["a"], ["b"])),
        (
            ["Response A", "Response B", "Neither is a good response"],
            AB,
            (["response a"], ["response b"]),
        ),
        (
            ["The first one is slightly better", "The second answer was much better"],
            AB,
            (["the first one is slightly better"], ["the second answer was much better"]),
        ),
        (["data.gpt", "human"], ("data.gpt", "data.human"), (["data.gpt"], ["human"])),
        (["model b", "model a"], AB, (["model a"], ["model b"])),
        (["a", "b"], ("answer_b", "answer_a"), (["b"], ["a"])),
    ],
)
def test_values_that_all_name_a_side_or_a_tie_are_guessed(
    values: list[str], sides: tuple[str, str], wins: tuple[list[str], list[str]]
) -> None:
    assert wins_of(values_of("w", [{"w": value} for value in values]), sides) == wins


@pytest.mark.parametrize(
    ("values", "sides"),
    [
        (["0", "1"], ONE_TWO),
        (["0", "1", "2"], ONE_TWO),
        (["1", "2", "3", "4", "5"], ONE_TWO),
        (["1"], ONE_TWO),
        (["-1", "1"], ONE_TWO),
        (["1.5", "1", "2"], ONE_TWO),
        (["1", "2"], AB),
        (["1", "2", "6", "7"], AB),
        (["0", "1"], ("response_0", "response_1")),
        (["Response 0", "Response 1"], ONE_TWO),
        (["Model A", "Model B", "Both A and B are good", "Not a fair comparison"], AB),
        (["gemma-2-27b-it", "command-a-03-2025"], ("conversation_a", "conversation_b")),
        (["a", "b", "a is worse"], AB),
        (["a", "b", "A is better in both respects"], AB),
        (["a over b", "b over a"], AB),
        (["a", "b"], ("gpt_answer", "human_answer")),
        (["true", "false"], AB),
        ([f"model a {i}" for i in range(20)], AB),
        ([], AB),
    ],
)
def test_values_that_may_mean_something_else_are_not_guessed(
    values: list[str], sides: tuple[str, str]
) -> None:
    assert wins_of(values_of("w", [{"w": value} for value in values]), sides) == ([], [])


def test_columns_are_named_with_paths_and_are_not_endless() -> None:
    row = {"id": 1, "data": {"p": "x", "said": user("Hi")}, "list": [{"v": {"w": 1}}, {"u": 2}], "plain": [1]}
    assert column_names([row, None]) == [
        "id",
        "data",
        "data.p",
        "data.said",
        "list",
        "list.v",
        "list.v.w",
        "list.u",
        "plain",
    ]
    assert len(column_names([{f"c{i}": 1 for i in range(5000)}])) == 100
    assert values_of("w", [{"w": str(i)} for i in range(50)]) == [str(i) for i in range(12)]
