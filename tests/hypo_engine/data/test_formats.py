"""Every known format, its detection from rows, and the reason for every row that is left out."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hypo_engine.data.formats import (
    FORMATS,
    Account,
    BadCell,
    ColumnMapping,
    Format,
    Kept,
    LeftOut,
    Pair,
    account_of,
    checked_pair,
    convert,
    detect,
    prompt_fraction,
    read_jsonl_pairs,
)
from hypo_engine.errors import DataError


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def only(row: Any, how: Format | ColumnMapping | None = None) -> Kept | LeftOut:
    """Convert a single row in its detected format."""
    how = how or detect([row])
    assert how is not None
    (result,) = convert([(1, row)], how)
    return result


def pair_of(row: Any, how: Format | ColumnMapping | None = None) -> Pair:
    result = only(row, how)
    assert isinstance(result, Kept), result
    return result.pair


def reason_of(row: Any, how: Format | ColumnMapping | None = None) -> str:
    result = only(row, how)
    assert isinstance(result, LeftOut), result
    return result.reason


def named(name: str) -> Format:
    return next(known for known in FORMATS if known.name == name)


TRL_TEXT = {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}
TRL_MESSAGES = {
    "prompt": [user("What colour is the sky?")],
    "chosen": [assistant("It is blue.")],
    "rejected": [assistant("It is green.")],
}
SHARED_TEXT = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
IMPLICIT_MESSAGES = {
    "chosen": [user("What colour is the sky?"), assistant("It is blue.")],
    "rejected": [user("What colour is the sky?"), assistant("It is green.")],
}
ULTRAFEEDBACK = {
    "prompt": "What colour is the sky?",
    "prompt_id": "ab12",
    **IMPLICIT_MESSAGES,
    "messages": IMPLICIT_MESSAGES["chosen"],
    "score_chosen": 8.5,
    "score_rejected": 2.0,
}
HH = {
    "chosen": "\n\nHuman: Hello\n\nAssistant: Hi!\n\nHuman: What colour is the sky?\n\nAssistant: Blue.",
    "rejected": "\n\nHuman: Hello\n\nAssistant: Hi!\n\nHuman: What colour is the sky?\n\nAssistant: Green.",
}
TLDR = {
    "info": {"post": "I painted\n\nthe sky.", "title": "Sky", "subreddit": "painting", "id": "x1"},
    "summaries": [{"text": " Painted it green.", "policy": "a"}, {"text": "Painted it blue.", "policy": "b"}],
    "choice": 1,
}
ALPACA_EVAL = {
    "instruction": "What colour is the sky?",
    "output_1": "It is blue.",
    "output_2": "It is green.",
    "preference": 1.0000211,
}
ALPACA = {
    "instruction": "Name the colour.",
    "input": "The sky",
    "chosen": "Blue",
    "rejected": "Green",
    "system": "Be brief.",
    "history": [["Hello", "Hi!"]],
}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "What colour is the sky?"}],
    "chosen": {"from": "gpt", "value": "It is blue."},
    "rejected": {"from": "gpt", "value": "It is green."},
}
KTO = {"prompt": "The sky is", "completion": " blue.", "label": True}

unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

QUESTION = [user("What colour is the sky?")]


@pytest.mark.parametrize(
    ("name", "row", "pair"),
    [
        ("trl", TRL_TEXT, Pair("The sky is", " blue.", " green.")),
        ("trl", TRL_MESSAGES, Pair(QUESTION, "It is blue.", "It is green.")),
        ("trl_implicit", IMPLICIT_MESSAGES, Pair(QUESTION, "It is blue.", "It is green.")),
        ("ultrafeedback", ULTRAFEEDBACK, Pair(QUESTION, "It is blue.", "It is green.")),
        ("hh", HH, Pair([user("Hello"), assistant("Hi!"), *QUESTION], "Blue.", "Green.")),
        (
            "tldr",
            TLDR,
            Pair(
                "SUBREDDIT: r/painting\n\nTITLE: Sky\n\nPOST: I painted\nthe sky.\n\nTL;DR:",
                " Painted it blue.",
                " Painted it green.",
            ),
        ),
        ("alpaca_eval", ALPACA_EVAL, Pair(QUESTION, "It is blue.", "It is green.")),
        (
            "alpaca",
            ALPACA,
            Pair(
                [
                    {"role": "system", "content": "Be brief."},
                    user("Hello"),
                    assistant("Hi!"),
                    user("Name the colour.\nThe sky"),
                ],
                "Blue",
                "Green",
            ),
        ),
        ("sharegpt", SHAREGPT, Pair(QUESTION, "It is blue.", "It is green.")),
    ],
)
def test_format_is_recognised_and_converted(name: str, row: dict[str, Any], pair: Pair) -> None:
    known = detect([row])
    assert known is not None
    assert known.name == name
    assert pair_of(row) == pair


@pytest.mark.parametrize(
    ("preference", "chosen"),
    [
        (1, "It is blue."),
        (2, "It is green."),
        (1.49, "It is blue."),
        (1.51, "It is green."),
        ("2.0", "It is green."),
    ],
)
def test_alpaca_eval_preference_names_the_better_output(preference: object, chosen: str) -> None:
    assert pair_of({**ALPACA_EVAL, "preference": preference}).chosen == chosen


@pytest.mark.parametrize(
    ("preference", "reason"),
    [
        (1.5, "tie"),
        (0, "tie"),
        (None, "gave none"),
        (float("nan"), "gave none"),
        ("", "gave none"),
        (3, "between 1"),
        (float("inf"), "between 1"),
        ("nan", "between 1"),
        (True, "wrong type"),
        ("first", "wrong type"),
        ([1], "wrong type"),
    ],
)
def test_alpaca_eval_row_without_a_preference_is_left_out(preference: object, reason: str) -> None:
    assert reason in reason_of({**ALPACA_EVAL, "preference": preference})


ASKED, SAID = user("Why?"), {"role": "assistant", "content": "Because."}


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        (KTO, Pair("The sky is", " blue.", "")),
        ({**KTO, "label": "False"}, Pair("The sky is", "", " blue.")),
        ({"prompt": [ASKED], "completion": [SAID], "label": 0}, Pair([ASKED], "", "Because.")),
        ({"messages": [ASKED, SAID], "label": True}, Pair([ASKED], "Because.", "")),
        (
            {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}
            | {"kto_tag": "false"},
            Pair([ASKED], "", "Because."),
        ),
        (
            {
                "instruction": "Why",
                "input": "so?",
                "output": "Because.",
                "kto_tag": True,
                "system": "Be brief.",
            },
            Pair([{"role": "system", "content": "Be brief."}, user("Why\nso?")], "Because.", ""),
        ),
        ({**KTO, "weight": 2, "margin": 3}, Pair("The sky is", " blue.", "", 2.0)),
    ],
)
def test_one_answer_with_a_thumb_is_a_row_with_one_answer(row: dict[str, Any], pair: Pair) -> None:
    known = detect([row])
    assert known is not None
    assert known.name == "kto"
    [kept] = convert([(1, row)], known)
    assert isinstance(kept, Kept)
    assert kept.pair == pair
    assert kept.pair.is_single
    account = account_of([kept])
    assert (account.good, account.bad) == (bool(pair.chosen), bool(pair.rejected))
    assert "One answer instead of two: 1 row" in account.sentences()[0]
    assert Account.of(account.as_dict()) == account


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [user("a")], "label": False}, "prompt missing"),
        ({**KTO, "completion": "  "}, "the answer"),
        ({**KTO, "label": None}, "label must be true or false"),
    ],
)
def test_a_thumb_without_an_answer_is_left_out(row: dict[str, Any], reason: str) -> None:
    known = detect([KTO])
    assert known is not None
    [out] = convert([(1, row)], known)
    assert isinstance(out, LeftOut)
    assert reason in out.reason


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Why?", "query": "Why not?", "chosen": "Because.", "rejected": "No."},
        SHARED_TEXT,
        {"question": "Why?", "answer": "Because."},
        {"instruction": "Why?", "output": "Because."},
        {},
        {"chosen": [assistant("a")], "rejected": [assistant("b")]},
    ],
)
def test_unknown_columns_are_not_guessed(row: dict[str, Any]) -> None:
    assert detect([row] * 3) is None


def test_detection_goes_by_most_rows_and_ignores_what_is_no_row() -> None:
    rows = [None, 3, {"chosen": None, "rejected": "x"}, HH, HH, HH, TRL_TEXT]
    known = detect(rows)
    assert known is not None
    assert known.name == "hh"
    assert detect([]) is None
    assert detect([None, "text"]) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": None}, "prompt missing"),
        ({"prompt": ""}, "prompt missing"),
        ({"prompt": " \n"}, "prompt missing"),
        ({"prompt": []}, "prompt missing"),
        ({"prompt": 7}, "prompt: wrong type, a number instead of text"),
        ({"prompt": True}, "prompt: wrong type, true/false instead of text"),
        ({"prompt": {"text": "x"}}, "prompt: wrong type, an object instead of text"),
        ({"prompt": b"bytes"}, "prompt: wrong type, bytes instead of text"),
        ({"prompt": [assistant("Hi")]}, "does not end with the user's turn"),
        ({"prompt": [user("  ")]}, "a turn of the prompt is empty"),
        ({"prompt": [{"role": "narrator", "content": "x"}]}, "role is not user, assistant or system"),
        ({"prompt": ["x"]}, "text instead of a message"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "something other than text"),
        ({"prompt": [{"role": "user", "content": 5}]}, "a message holds a number"),
        ({"chosen": None}, "chosen is empty"),
        ({"chosen": ""}, "chosen is empty"),
        ({"chosen": 1.5}, "chosen: wrong type, a number"),
        ({"chosen": float("nan")}, "chosen is empty"),
        ({"rejected": " blue. "}, "chosen equals rejected"),
        ({"rejected": " "}, "rejected is empty"),
        ({"rejected": "a\x00b"}, "rejected holds a NUL character"),
        ({"chosen": "half \ud83d"}, "chosen is not UTF-8"),
        (
            {"chosen": [assistant("a"), user("b"), assistant("c")], "rejected": [assistant("d")]},
            "several turns",
        ),
        (
            {"prompt": [user("q")], "chosen": [assistant("a"), user("b")], "rejected": [assistant("d")]},
            "several turns",
        ),
        (
            {"prompt": [user("q")], "chosen": [user("a")], "rejected": [assistant("d")]},
            "not the assistant's turn",
        ),
        ({"prompt": [user("q")], "chosen": [], "rejected": [assistant("d")]}, "chosen is empty"),
        ({"chosen": [user("a"), assistant("a")], "rejected": "b"}, "not the question of the conversation"),
    ],
)
def test_bad_value_has_a_reason(change: dict[str, Any], reason: str) -> None:
    assert reason in reason_of({**TRL_TEXT, **change}, named("trl"))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("tldr", {"info": None}, "info: wrong type"),
        ("tldr", {"info": {"title": "x"}}, "prompt missing"),
        ("tldr", {"summaries": [{"text": "one"}]}, "list of two"),
        ("tldr", {"summaries": [{"text": "one"}, {"text": None}]}, "summary is empty"),
        ("tldr", {"choice": 2}, "0 or 1"),
        ("tldr", {"choice": True}, "0 or 1"),
        ("tldr", {"choice": []}, "0 or 1"),
        ("alpaca", {"history": "x"}, "history: wrong type"),
        ("alpaca", {"history": [["only one"]]}, "history: wrong type"),
        ("alpaca", {"instruction": None, "input": ""}, "prompt missing"),
        ("sharegpt", {"conversations": None}, "prompt missing"),
        ("sharegpt", {"conversations": [{"from": "function_call", "value": "x"}]}, "role is not"),
        ("sharegpt", {"chosen": {"from": "human", "value": "x"}}, "not the assistant's turn"),
        ("sharegpt", {"chosen": 3}, "chosen: wrong type, a number instead of text"),
        ("hh", {"chosen": "Robot: hello"}, "neither messages nor transcripts"),
        ("hh", {"chosen": HH["chosen"] + "\n\nHuman: More?\n\nAssistant: Yes."}, "several turns"),
        ("hh", {"chosen": "\n\nHuman: Other\n\nAssistant: Yes."}, "no turn in common"),
        ("hh", {"chosen": HH["chosen"].removesuffix(" Blue.")}, "chosen is empty"),
        ("hh", {"chosen": HH["rejected"]}, "chosen equals rejected"),
        ("trl_implicit", SHARED_TEXT, "neither messages nor transcripts"),
        ("trl_implicit", {"chosen": "Same", "rejected": "Same"}, "chosen equals rejected"),
    ],
)
def test_bad_value_of_a_format_has_a_reason(name: str, change: dict[str, Any], reason: str) -> None:
    rows = {"tldr": TLDR, "alpaca": ALPACA, "sharegpt": SHAREGPT, "hh": HH, "trl_implicit": {}}
    assert reason in reason_of({**rows[name], **change}, named(name))


def test_tldr_news_articles_have_no_subreddit() -> None:
    row = {**TLDR, "info": {"article": "Blue\n\npaint.", "title": "News", "post": None}}
    assert pair_of(row).prompt == "TITLE: News\n\nBlue\npaint.\n\nTL;DR:"


ANSWERS_ALONE = ColumnMapping(None, "chosen", "rejected")


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("The sky is blue.", "The sky is green.", Pair("The sky is", " blue.", " green.")),
        ("The sky is black", "The sky is blue", Pair("The sky is", " black", " blue")),
        ("Blue", "Green", "no common beginning"),
        ("The sky", "The sky is blue", "chosen is empty"),
    ],
)
def test_text_that_answers_share_is_a_prompt_only_when_a_mapping_says_so(
    chosen: str, rejected: str, expected: Pair | str
) -> None:
    row = {"chosen": chosen, "rejected": rejected}
    assert detect([row]) is None
    if isinstance(expected, Pair):
        assert pair_of(row, ANSWERS_ALONE) == expected
    else:
        assert expected in reason_of(row, ANSWERS_ALONE)


def test_implicit_conversation_keeps_all_shared_turns() -> None:
    start = [{"role": "system", "content": "Be brief."}, user("Hi"), assistant("Hello"), user("Sky?")]
    pair = pair_of({"chosen": [*start, assistant("Blue")], "rejected": [*start, assistant("Green")]})
    assert pair == Pair(start, "Blue", "Green")


def test_answers_may_repeat_the_explicit_prompt() -> None:
    row = {**TRL_MESSAGES, **IMPLICIT_MESSAGES}
    assert pair_of(row) == Pair(QUESTION, "It is blue.", "It is green.")


def test_empty_system_turns_are_dropped_and_text_parts_joined() -> None:
    row = {
        "prompt": [
            {"role": "system", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        ],
        "chosen": {"role": "assistant", "content": "a"},
        "rejected": "b",
    }
    assert pair_of(row, named("trl")) == Pair([user("Hi")], "a", "b")


def test_hh_speaker_who_goes_on_is_one_turn() -> None:
    start = "\n\nHuman: Hello\n\nHuman: What colour is the sky?\n\nAssistant:"
    pair = pair_of({"chosen": f"{start} Blue.", "rejected": f"{start} Green."})
    assert pair.prompt == [user("Hello\n\nWhat colour is the sky?")]


def test_nested_values_of_numpy_and_pyarrow_are_plain_values() -> None:
    as_numpy = {name: np.array(value, dtype=object) for name, value in TRL_MESSAGES.items()}
    as_arrow = pyarrow.array([TRL_MESSAGES])[0]
    assert pair_of(as_numpy) == pair_of(as_arrow) == pair_of(TRL_MESSAGES)
    assert pair_of({**ALPACA_EVAL, "preference": np.float64(1.9)}).chosen == "It is green."


def test_cell_that_cannot_be_read_costs_its_row_where_it_is_needed() -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "note": BadCell("not UTF-8")}
    how = detect([row])
    assert how is not None
    assert list(convert([(1, row)], how)) == [Kept(1, Pair("p", "a", "b"), unused=("note",))]
    bad = BadCell("not UTF-8")
    for change in ({"chosen": bad}, {"prompt": bad}, {"chosen": [bad], "rejected": [bad]}):
        name = next(iter(change))
        assert list(convert([(1, row | change)], how)) == [LeftOut(1, f"{name}: not UTF-8")]


def test_nesting_without_end_leaves_out_one_row() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    results = list(convert([(1, {**TRL_TEXT, "prompt": deep}), (2, TRL_TEXT)], named("trl")))
    assert results[0] == LeftOut(1, "prompt: nested too deeply")
    assert isinstance(results[1], Kept)
    assert detect([{**TRL_TEXT, "prompt": deep}, TRL_TEXT]) is named("trl")


def test_mapping_reads_any_columns() -> None:
    row = {"question": "Why?", "good": "Because.", "bad": "No.", "context": "The sky is blue."}
    assert pair_of(row, ColumnMapping("question", "good", "bad")) == Pair("Why?", "Because.", "No.")
    assert "column 'why' missing" in reason_of(row, ColumnMapping("why", "good", "bad"))
    with pytest.raises(DataError, match="one column twice"):
        ColumnMapping("question", "good", "good")


@unhurried
@given(
    st.dictionaries(
        st.sampled_from(sorted({*TRL_TEXT, *TLDR, *ALPACA, *ALPACA_EVAL, *SHAREGPT, *KTO})),
        st.recursive(
            st.none()
            | st.booleans()
            | st.floats()
            | st.integers()
            | st.text(st.sampled_from("aB1. \n\x00\ud800\u00e9"), max_size=20)
            | st.binary(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["role", "content", "from", "value", "text", "post"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_no_row_whatever_stops_the_conversion(row: dict[str, Any]) -> None:
    for known in FORMATS:
        (result,) = convert([(5, row)], known)
        assert result.row == 5
        if isinstance(result, LeftOut):
            assert 0 < len(result.reason) <= 300
        else:
            assert checked_pair(result.pair) == replace(result.pair, weight=1.0, margin=0.0)
    detect([row])


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30).filter(
    str.strip
)


@unhurried
@given(words, words, words)
def test_plain_pairs_are_stored_as_they_stand(prompt: str, chosen: str, rejected: str) -> None:
    assume(not all(answer.lstrip().startswith(prompt.strip()) for answer in (chosen, rejected)))
    result = only({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    if chosen.strip() == rejected.strip():
        assert result == LeftOut(1, "chosen equals rejected")
    else:
        assert result == Kept(1, Pair(prompt, chosen, rejected))


@unhurried
@given(words, words, words)
def test_implicit_prompt_and_answers_make_up_the_texts_again(prompt: str, chosen: str, rejected: str) -> None:
    row = {"chosen": f"{prompt} {chosen}", "rejected": f"{prompt} {rejected}"}
    result = only(row, ANSWERS_ALONE)
    if isinstance(result, Kept):
        assert isinstance(result.pair.prompt, str)
        assert result.pair.prompt + result.pair.chosen == row["chosen"]
        assert result.pair.prompt + result.pair.rejected == row["rejected"]


@unhurried
@given(words)
def test_split_depends_on_what_the_prompt_says(prompt: str) -> None:
    fraction = prompt_fraction(prompt)
    assert 0 <= fraction < 1
    assert prompt_fraction([user(prompt)]) == prompt_fraction(f" {prompt}\n") == fraction
    assert prompt_fraction([user(prompt), assistant("a"), user("b")]) != fraction


def test_split_takes_about_the_share_asked_for() -> None:
    held = sum(prompt_fraction(f"Question {i}") < 0.1 for i in range(5000))
    assert 400 < held < 600


def test_jsonl_file_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps(TRL_TEXT).encode(), b"", b"{broken", b'{"prompt": "\xff"}', b"[" * 100_000]
    lines.append(b'{"prompt": "half')
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    first, *rest = read_jsonl_pairs(path)
    assert first == Kept(1, Pair("The sky is", " blue.", " green."))
    assert [(row.row, row.reason) for row in rest if isinstance(row, LeftOut)] == [
        (3, "not JSON: Expecting property name enclosed in double quotes at character 2"),
        (4, "not UTF-8 at byte 13"),
        (5, "nested too deeply"),
        (6, "not JSON: Unterminated string starting at character 12"),
    ]


def test_jsonl_file_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl cannot be read: No such file"):
        list(read_jsonl_pairs(tmp_path / "nowhere.jsonl"))
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(json.dumps(TRL_TEXT).encode()))
    with pytest.raises(DataError, match="no known format"):
        list(read_jsonl_pairs(packed))
