"""Layouts of other tools: each is read correctly, or left out with a reason."""

import io
from typing import Any

import pytest

from hypo_engine.data.formats import Kept, LeftOut, Pair, convert, detect, jsonl_rows
from hypo_engine.data.rows import RowError

HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
SKY = {"role": "user", "content": "Sky?"}
BLUE, RED = ({"role": "assistant", "content": text} for text in ("Blue", "Red"))
PAIR = {"prompt": "Sky?", "chosen": "Blue", "rejected": "Red"}


def kept(row: dict[str, Any]) -> Kept:
    how = detect([row])
    assert how is not None, "no format is recognised"
    (result,) = convert([(1, row)], how)
    assert isinstance(result, Kept), result
    return result


def name_of(row: dict[str, Any]) -> str | None:
    how = detect([row])
    return how.name if how else None


@pytest.mark.parametrize(("text", "sign"), [("[9.0, 9.0]", 0), ("(9, 9)", 0), ("[9.0, 8.0]", None)])
def test_ratings_written_as_text_are_counted(text: str, sign: int | None) -> None:
    score = kept({**PAIR, "rating": text}).score
    assert (score.sign if score else None) == sign


@pytest.mark.parametrize("label", [None, "math", 7])
def test_a_label_that_is_no_thumb_makes_no_kto(label: object) -> None:
    row = {"messages": [SKY, BLUE], "rejected_response": "Red", "label": label}
    assert name_of(row) == "ms_swift"
    assert kept(row).pair == Pair([SKY], "Blue", "Red")
    assert name_of({"prompt": "Sky?", "completion": "Blue", "label": label}) is None


@pytest.mark.parametrize("label", [True, False, "True", "false", 1])
def test_one_answer_with_a_thumb_is_kto_beside_empty_answers_too(label: object) -> None:
    row = {"prompt": "Sky?", "completion": "Blue", "label": label}
    assert name_of(row) == name_of({**row, "chosen": None, "rejected": None}) == "kto"
    assert name_of({**row, "chosen": "Blue", "rejected": "Red"}) == "trl"
    assert name_of({"messages": [SKY, BLUE], "label": label, "rejected_response": None}) == "kto"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_transcripts_are_read_with_any_line_end(end: str) -> None:
    start = f"{end}{end}Human: Hi{end}{end}Assistant: Hello{end}{end}Human: Sky?{end}{end}Assistant:"
    row = {"chosen": f"{start} Blue", "rejected": f"{start} Red"}
    assert name_of(row) == "hh"
    assert kept(row).pair == Pair([HI, HELLO, SKY], "Blue", "Red")


def test_lists_of_roles_and_contents_hold_their_prompt() -> None:
    row = {
        name: {"role": ["user", "assistant"], "content": ["Sky?", answer]}
        for name, answer in (("chosen", "Blue"), ("rejected", "Red"))
    }
    assert name_of(row) == "trl_implicit"
    assert kept(row).pair == Pair([SKY], "Blue", "Red")
    swift = {"messages": row["chosen"], "rejected_response": "Red"}
    assert kept(swift).pair == Pair([SKY], "Blue", "Red")


def test_messages_that_are_maps_of_parquet_are_read() -> None:
    row = {"prompt": [[*SKY.items()]], "chosen": [[*BLUE.items()]], "rejected": [[*RED.items()]]}
    assert kept(row).pair == Pair([SKY], "Blue", "Red")
    assert kept({**PAIR, "history": [("Hi", "Hello")]}).pair.prompt == [HI, HELLO, SKY]


@pytest.mark.parametrize("text", ['[["Hi", "Hello"]]', "[('Hi', 'Hello')]"])
def test_history_written_as_text_is_the_list_it_is(text: str) -> None:
    assert kept({**PAIR, "history": text}).pair.prompt == [HI, HELLO, SKY]


def test_lines_of_files_put_together_are_read() -> None:
    stream = io.BytesIO(b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}\n')
    assert list(jsonl_rows(stream)) == [(1, {"a": 1}), (2, {"a": 2})]


def test_a_name_with_two_values_leaves_the_row_out() -> None:
    lines = b'{"a": 1, "a": 2}\n{"a": 1, "a": 1}\n{"m": [{"role": "user", "role": "system"}]}\n'
    (_, first), second, (_, third) = jsonl_rows(io.BytesIO(lines))
    assert isinstance(first, RowError)
    assert str(first) == "a appears twice with different values; keep one of them"
    assert second == (2, {"a": 1})
    assert isinstance(third, RowError)


def test_two_outputs_to_an_instruction_are_the_good_and_the_bad_one() -> None:
    row = {"instruction": "Name it.", "input": "Sky", "output": ["Blue", "Red"]}
    assert kept(row).pair == Pair([{"role": "user", "content": "Name it.\nSky"}], "Blue", "Red")
    assert name_of({**row, "better": 1}) is name_of({**row, "output": ["a", "b", "c"]}) is None
    how = detect([row])
    assert how is not None
    results = convert([(1, {**row, "output": "Blue"})], how)
    assert list(results) == [
        LeftOut(1, "output must be a list of two texts, the chosen and the rejected answer")
    ]
