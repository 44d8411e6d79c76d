"""Messages and missing values in text cells."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from hypo_engine.data.formats import ColumnMapping, Kept, LeftOut, Pair, convert, detect

PAIR = {"prompt": "Sky?", "chosen": "Blue", "rejected": "Red"}


def result_of(row: dict[str, Any]) -> Kept | LeftOut:
    how = detect([row])
    assert how is not None, "no format is recognised"
    (result,) = convert([(1, row)], how)
    return result


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "text": "Hi"},
        {"role": "USER", "message": "Hi"},
        {"role": "User", "content": "", "text": "Hi"},
        {"role": "user", "parts": [{"text": "H"}, {"text": "i"}]},
        {"parts": ["Hi"], "role": "user"},
        {"role": "user", "parts": [{"text": "Hi", "thought": False}]},
    ],
)
@pytest.mark.parametrize("write", [json.dumps, str, list])
def test_messages_with_other_keys_are_turns(message: dict[str, Any], write: Callable[[Any], Any]) -> None:
    result = result_of({**PAIR, "prompt": write([message])})
    assert result == Kept(1, Pair([{"role": "user", "content": "Hi"}], "Blue", "Red"))


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"inline_data": {"data": "x"}}, "prompt: a message with something other than text in it"),
        (
            {"text": "Hm", "thought": True},
            "prompt: a message with thought, which a pair of texts cannot hold",
        ),
    ],
)
def test_parts_that_are_no_text_leave_the_row_out(part: dict[str, Any], reason: str) -> None:
    said = [{"role": "user", "parts": [{"text": "Hi"}, part]}]
    for prompt in (said, json.dumps(said)):
        assert result_of({**PAIR, "prompt": prompt}) == LeftOut(1, reason)


@pytest.mark.parametrize(
    "text",
    [
        '{"from": "Bo", "to": "Al", "message": "Hi"}',
        '{"role": "admin", "text": "Hi"}',
        '[{"text": "Hi", "parts": []}]',
    ],
)
def test_an_answer_that_is_some_other_object_stays_text(text: str) -> None:
    result = result_of({**PAIR, "chosen": text})
    assert isinstance(result, Kept)
    assert result.pair.chosen == text


@pytest.mark.parametrize("nothing", ["NA", "<NA>", " NA ", "NaN", "null", "None"])
def test_words_for_nothing_are_missing_in_optional_columns(nothing: str) -> None:
    assert result_of({**PAIR, "tools": nothing, "note": nothing}) == Kept(1, Pair("Sky?", "Blue", "Red"))
    asked = [{"role": "user", "content": "Sky?"}]
    for column in ("system", "history"):
        assert result_of({**PAIR, column: nothing}) == Kept(1, Pair(asked, "Blue", "Red"))
    alpaca = {"instruction": "Sky?", "input": nothing, "chosen": "Blue", "rejected": "Red"}
    assert result_of(alpaca) == Kept(1, Pair(asked, "Blue", "Red"))
    (mapped,) = convert([(1, {**PAIR, "s": nothing})], ColumnMapping("prompt", "chosen", "rejected", "s"))
    assert mapped == Kept(1, Pair(asked, "Blue", "Red"))


def test_an_answer_of_na_is_an_answer() -> None:
    assert result_of({**PAIR, "rejected": "NA"}) == Kept(1, Pair("Sky?", "Blue", "NA"))
