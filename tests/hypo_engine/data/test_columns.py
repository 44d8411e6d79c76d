"""Columns by name, in any spelling: used, a reason to leave the row out, or only reported."""

from typing import Any

import pytest

from hypo_engine.data.formats import Kept, LeftOut, Pair, convert, detect

ANSWERS = {"chosen": "The answer is 1.", "rejected": "The answer is 2."}
PAIR = {"prompt": "What is 0+1?", **ANSWERS}
SYSTEM = {"role": "system", "content": "Be kind"}
ASKED = {"role": "user", "content": "What is 0+1?"}
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def result_of(row: dict[str, Any]) -> Kept | LeftOut:
    how = detect([row])
    assert how is not None, "no format is recognised"
    (result,) = convert([(1, row)], how)
    return result


def kept(row: dict[str, Any]) -> Kept:
    result = result_of(row)
    assert isinstance(result, Kept), result
    return result


def reason(row: dict[str, Any]) -> str:
    result = result_of(row)
    assert isinstance(result, LeftOut), result
    return result.reason


@pytest.mark.parametrize(
    "column",
    [
        "System",
        "System Prompt",
        "systemPrompt",
        "SYSTEM_PROMPT",
        "system-message",
        "sys_prompt",
        "system_instruction",
        "systemInstructions",
        "system_text",
        "preamble",
    ],
)
def test_system_column_is_used_however_it_is_spelled(column: str) -> None:
    assert kept({**PAIR, column: "Be kind"}) == Kept(1, Pair([SYSTEM, ASKED], *ANSWERS.values()))


@pytest.mark.parametrize("column", ["chat_history", "conversationHistory", "previous messages", "History"])
def test_history_column_is_used_however_it_is_spelled(column: str) -> None:
    assert kept({**PAIR, column: TURNS}).pair.prompt == [*TURNS, ASKED]
    assert "history: wrong type" in reason({**PAIR, column: "They said hello."})


def test_history_columns_that_differ_leave_the_row_out() -> None:
    row = {**PAIR, "history": TURNS, "chatHistory": TURNS}
    assert kept(row).pair.prompt == [*TURNS, ASKED]
    assert "the history columns contradict each other" in reason({**row, "chatHistory": TURNS[:1]})


@pytest.mark.parametrize("column", ["Question", "USER_PROMPT", "user_query", "userQuery", "Instruction"])
def test_question_column_is_used_however_it_is_spelled(column: str) -> None:
    assert kept({column: "What is 0+1?", **ANSWERS}) == Kept(1, Pair([ASKED], *ANSWERS.values()))
    assert f"{column} says something that the prompt does not" in reason({**PAIR, column: "What is 7?"})


@pytest.mark.parametrize(
    "column",
    [
        "tool_call",
        "available_tools",
        "toolsJson",
        "tool_definitions",
        "function_definitions",
        "Tools",
        "image_path",
        "ImageFile",
        "image_base64",
        "img",
        "picture",
        "audio path",
        "attachments",
    ],
)
def test_tools_and_media_by_other_names_leave_the_row_out(column: str) -> None:
    assert reason({**PAIR, column: "clock.png"}).startswith(f"{column} cannot be kept in a pair of texts")
    assert kept({**PAIR, column: ""}).unused == ()
    assert kept({**PAIR, column: 2}).unused == (column,)


@pytest.mark.parametrize(
    "column",
    ["retrieved_context", "contextText", "prompt_context", "Reference Document", "doc", "paragraph"],
)
def test_context_by_other_names_leaves_the_row_out(column: str) -> None:
    said = f"{column} says something that the prompt does not; put it into the prompt"
    assert reason({**PAIR, column: "Numbers are slow."}).startswith(said)
    assert kept({**PAIR, column: "0+1"}).unused == (column,)
    for number in (17, "17", "doc_17", "https://a.example/17"):
        assert kept({**PAIR, column: number}).unused == (column,)


@pytest.mark.parametrize(
    "column",
    [
        "prompt_id",
        "question_id",
        "system_id",
        "image_count",
        "doc_id",
        "num_tools",
        "history_length",
        "model_system",
        "document_url",
        "system_fingerprint",
        "context_length",
        "question_type",
    ],
)
@pytest.mark.parametrize("value", [3, "three of them"])
def test_columns_about_columns_cost_no_row(column: str, value: object) -> None:
    assert kept({**PAIR, column: value}).unused == (column,)


def test_votes_of_lmarena_keep_their_system_prompt() -> None:
    row = {
        "conversation_a": [ASKED, {"role": "assistant", "content": "1"}],
        "conversation_b": [ASKED, {"role": "assistant", "content": "2"}],
        "winner": "model_b",
        "model_a": "x",
    }
    assert kept({**row, "system_prompt": "Be kind"}) == Kept(1, Pair([SYSTEM, ASKED], "2", "1"), ("model_a",))
    assert "context says something" in reason({**row, "context": "Numbers are slow."})


def test_a_layout_without_a_system_column_leaves_the_row_out() -> None:
    row = {"info": {"title": "t", "post": "p"}, "summaries": ["a", "b"], "choice": 0}
    assert kept(row).unused == ()
    assert "System says something that the prompt does not" in reason({**row, "System": "Be kind"})
