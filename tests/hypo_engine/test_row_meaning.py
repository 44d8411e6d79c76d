"""The meaning of a row: no column that changes it is ignored, and every ignored column is reported."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hypo_engine.data.account import MOST_NAMES, MOST_REASONS, REST, Account
from hypo_engine.data.formats import FORMATS, ColumnMapping, Kept, LeftOut, Pair, convert, detect
from hypo_engine.data.scores import Score


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def converted(rows: list[Any]) -> list[Kept | LeftOut]:
    how = detect(rows)
    assert how is not None, "no format is recognised"
    return list(convert(enumerate(rows, start=1), how))


def kept(row: dict[str, Any]) -> Kept:
    (result,) = converted([row])
    assert isinstance(result, Kept), result
    return result


def reason(row: dict[str, Any]) -> str:
    (result,) = converted([row])
    assert isinstance(result, LeftOut), result
    return result.reason


TEXTS = {"chosen": "The answer is 1.", "rejected": "The answer is 2."}
PAIR = {"prompt": "What is 0+1?", **TEXTS}
CALL = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}


# A question column, and answers with a common beginning.


@pytest.mark.parametrize("column", ["question", "query", "instruction", "input", "user_prompt", "problem"])
def test_question_beside_the_answers_is_the_prompt(column: str) -> None:
    row = {"system": "Be terse.", column: "What is 0+1?", **TEXTS}
    assert kept(row).pair == Pair([system("Be terse."), user("What is 0+1?")], *TEXTS.values())
    assert kept({column: "What is 0+1?", **TEXTS}).pair.prompt == [user("What is 0+1?")]


@pytest.mark.parametrize("rest", [{}, {"question": None}, {"question": "a", "query": "b"}, {"source": "x"}])
def test_words_that_answers_begin_with_are_no_prompt(rest: dict[str, Any]) -> None:
    assert detect([{**TEXTS, **rest}] * 3) is None


def test_answers_without_a_prompt_among_rows_that_have_one_are_left_out() -> None:
    results = converted([PAIR, PAIR, {**TEXTS, "prompt": None}])
    assert results[2] == LeftOut(
        3, "prompt missing: chosen and rejected are neither messages nor transcripts"
    )


def test_question_that_the_prompt_does_not_hold_leaves_the_row_out() -> None:
    assert "question says something that the prompt does not" in reason({**PAIR, "question": "What is 7?"})
    assert kept({**PAIR, "question": " What is\n0+1? "}).unused == ("question",)
    template = {**PAIR, "prompt": "Answer: What is 0+1?", "question": "What is 0+1?"}
    assert kept(template).pair.prompt == "Answer: What is 0+1?"
    chosen_by_hand = ColumnMapping("prompt", "chosen", "rejected")
    (result,) = convert([(1, {**PAIR, "question": "What is 7?"})], chosen_by_hand)
    assert isinstance(result, Kept)
    assert result.unused == ("question",)


def test_messages_that_the_prompt_does_not_hold_leave_the_row_out() -> None:
    said = [user("I have two coins."), assistant("Good."), user("What is 0+1?")]
    assert "messages has turns that the prompt does not" in reason({**PAIR, "messages": said})
    whole = [user("What is 0+1?"), assistant("The answer is 1.")]
    assert kept({**PAIR, "messages": whole}).unused == ("messages",)


def test_messages_are_the_prompt_of_answers_that_are_text() -> None:
    said = [user("I have two coins."), assistant("Good."), user("What is 0+1?")]
    assert kept({"messages": said, **TEXTS}).pair == Pair(said, *TEXTS.values())


# System text and history.


@pytest.mark.parametrize("column", ["system", "system_prompt", "system_message"])
def test_system_column_is_the_system_turn(column: str) -> None:
    question = [user("What is 0+1?")]
    expected = Pair([system("Be kind"), *question], *TEXTS.values())
    messages = {"prompt": question, "chosen": [assistant("1")], "rejected": [assistant("2")]}
    whole = {name: [*question, *messages[name]] for name in ("chosen", "rejected")}
    assert kept({column: "Be kind", **PAIR}).pair == expected
    assert kept({column: "Be kind", **messages}).pair.prompt == expected.prompt
    assert kept({column: "Be kind", **whole}).pair.prompt == expected.prompt
    assert kept({column: "Be kind", **PAIR}).unused == ()


def test_system_column_that_says_nothing_or_the_same() -> None:
    turns = [system("Be kind"), user("hi?")]
    row = {"prompt": turns, "chosen": "a", "rejected": "b"}
    assert kept({**row, "system": "Be kind"}).pair.prompt == turns
    assert kept({**PAIR, "system": ""}).pair.prompt == [user("What is 0+1?")]
    assert "not the conversation's system turn" in reason({**row, "system": "Be rude"})
    assert "contradict each other" in reason({**PAIR, "system": "a", "system_prompt": "b"})


def test_system_column_before_a_transcript_makes_turns_of_it() -> None:
    start = "Human: Hi\n\nAssistant: Hello\n\nHuman: Sky?\n\nAssistant:"
    row = {"system": "Be kind", "prompt": start, "chosen": f"{start} Blue", "rejected": f"{start} Red"}
    turns = [system("Be kind"), user("Hi"), assistant("Hello"), user("Sky?")]
    assert kept(row).pair == Pair(turns, " Blue", " Red")


def test_history_stands_before_the_question() -> None:
    turns = [user("Hi"), assistant("Hello"), user("What is 0+1?")]
    assert kept({**PAIR, "history": [["Hi", "Hello"]]}).pair.prompt == turns
    assert kept({**PAIR, "history": turns[:2]}).pair.prompt == turns
    assert kept({**PAIR, "prompt": turns, "history": turns[:2]}).pair.prompt == turns
    assert "history: wrong type" in reason({**PAIR, "history": "Hi"})


# Prompts repeated in the answers, and prompts that disagree with them.


@pytest.mark.parametrize(
    ("prompt", "rest"),
    [
        ("Human: say 0\n\nAssistant:", ""),
        ("Human: say 0\n\nAssistant: ", ""),
        ("\n\nHuman: say 0\n\nAssistant:", " "),
        ("Continue this sentence:", "\n"),
    ],
)
def test_text_answers_lose_the_prompt_that_they_begin_with(prompt: str, rest: str) -> None:
    row = {"prompt": prompt, "chosen": f"{prompt.strip()}{rest} yes", "rejected": f"{prompt}{rest} no"}
    pair = kept(row).pair
    assert (pair.prompt, pair.chosen.strip(), pair.rejected.strip()) == (prompt, "yes", "no")


def test_question_repeated_in_the_answers_is_taken_off_in_every_layout() -> None:
    asked = "Name one colour, please."
    answers = {"chosen": f"{asked} Blue", "rejected": f"{asked} Mud"}
    for row in (
        {"question": asked, **answers},
        {"instruction": asked, "input": "", **answers},
        {"conversations": [{"from": "human", "value": asked}], **answers},
        {"prompt": [user(asked)], **answers},
        {
            "instruction": asked,
            "output_1": answers["chosen"],
            "output_2": answers["rejected"],
            "preference": 1,
        },
    ):
        assert kept(row).pair == Pair([user(asked)], " Blue", " Mud")
    messages = {name: [assistant(text)] for name, text in answers.items()}
    assert kept({"prompt": [user(asked)], **messages}).pair.chosen == answers["chosen"]


def test_short_prompt_is_taken_off_only_where_the_file_repeats_its_prompts() -> None:
    greeting = {"prompt": "Hello", "chosen": "Hello! How are you?", "rejected": "Hello there."}
    ordinary = [{"prompt": f"What is number {i}?", "chosen": "a", "rejected": "b"} for i in range(3)]
    repeating = [
        {"prompt": row["prompt"], "chosen": row["prompt"] + " a", "rejected": row["prompt"] + " b"}
        for row in ordinary
    ]
    said = {"prompt": "Hello", "chosen": "Hello Bo", "rejected": "Hello Al"}
    assert converted([*ordinary, greeting])[-1] == Kept(4, Pair("Hello", *list(greeting.values())[1:]))
    assert converted([*repeating, said])[-1] == Kept(4, Pair("Hello", " Bo", " Al"))
    assert converted([said])[-1] == Kept(1, Pair("Hello", " Bo", " Al"))


def test_answer_that_is_only_the_prompt_or_begins_so_alone_keeps_it() -> None:
    prompt = "Say these three words"
    row = {"prompt": prompt, "chosen": f"{prompt} now", "rejected": "No."}
    assert kept(row).pair == Pair(prompt, f"{prompt} now", "No.")
    assert kept({**row, "rejected": prompt}).pair.rejected == prompt


def conversation(question: str, answer: str) -> list[dict[str, Any]]:
    return [user(question), assistant(answer)]


@pytest.mark.parametrize(
    "prompt",
    ["hi?", "bye", [user("hi?")], "I know", [system("s"), user("hi?")], "bye? or hi?\nbye? no"],
)
def test_prompt_that_is_not_the_conversations_question_leaves_the_row_out(prompt: Any) -> None:
    row = {"prompt": prompt, "chosen": conversation("no", "a"), "rejected": conversation("no", "b")}
    if prompt == "bye? or hi?\nbye? no":
        row |= {"chosen": conversation("bye? no more", "a"), "rejected": conversation("bye? no more", "b")}
    assert reason(row) == "the prompt is not the question of the conversation in chosen and rejected"


def test_prompt_may_be_any_way_to_write_the_conversations_question() -> None:
    before = [user("Hi"), assistant("Hello"), user("Sky?")]
    row = {"chosen": [*before, assistant("Blue")], "rejected": [*before, assistant("Red")]}
    for prompt in (
        "Hi",
        " Sky?\n",
        "Human: Hi\n\nAssistant: Hello\n\nHuman: Sky?\n\nAssistant:",
        "<|user|>Hi<|end|><|assistant|>Hello<|end|><|user|>Sky?<|end|>",
        before,
        before[:1],
        before[2:],
    ):
        assert kept({**row, "prompt": prompt}).pair == Pair(before, "Blue", "Red")
    with_system = [system("Be brief."), *before]
    assert kept({**row, "prompt": with_system}).pair.prompt == with_system
    framed = [user("Be brief.\n\nSky?")]
    answers = {"chosen": [*framed, assistant("Blue")], "rejected": [*framed, assistant("Red")]}
    assert kept({"prompt": "Sky?", **answers}).pair.prompt == framed


def test_transcripts_beside_a_question_are_conversations() -> None:
    row = {
        "prompt": "say 0",
        "chosen": "\n\nHuman: say 0\n\nAssistant: 0",
        "rejected": "Human: say 0\n\nAssistant: no",
    }
    assert kept(row).pair == Pair([user("say 0")], "0", "no")
    assert "not the question" in reason({**row, "prompt": "say 1"})


# Content that a pair of texts cannot represent.


@pytest.mark.parametrize(
    "change",
    [
        {"chosen": [assistant("One moment.", tool_calls=[CALL])]},
        {"chosen": [assistant(None, tool_calls=[CALL])]},
        {"rejected": [assistant("No.", function_call=CALL["function"])]},
        {"prompt": [user("time?"), assistant("Wait.", tool_calls=[CALL]), user("and?")]},
        {"prompt": [user("time?"), assistant("Wait."), {"role": "tool", "content": "12"}]},
        {"chosen": [assistant("Noon.", reasoning_content="It is late.")]},
        {"chosen": [assistant("Noon.", thinking="It is late.")]},
        {"prompt": [user([{"type": "image", "image": "x.png"}, {"type": "text", "text": "time?"}])]},
        {"prompt": [user([{"type": "text", "text": "time?", "image_url": {"url": "x"}}])]},
        {"prompt": [{**user("time?"), "images": ["x.png"]}]},
        {"chosen": [assistant([{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "Noon."}])]},
        {"tools": [{"type": "function", "function": {"name": "clock"}}]},
        {"tools": '[{"type": "function"}]'},
        {"functions": [{"name": "clock"}]},
        {"images": ["x.png"]},
        {"image": {"bytes": b"x", "path": None}},
        {"chosen_images": ["x.png"]},
        {"chosen_reasoning": "It is late."},
        {"reasoning_content": "It is late."},
        {"videos": ["x.mp4"]},
    ],
)
def test_row_that_says_more_than_text_is_left_out(change: dict[str, Any]) -> None:
    row = {"prompt": [user("time?")], "chosen": [assistant("Noon.")], "rejected": [assistant("No.")]}
    assert isinstance(converted([row])[0], Kept)
    assert any(
        word in reason(row | change)
        for word in ("cannot hold", "cannot be kept in a pair", "other than text", "role is not")
    )
    mapped = ColumnMapping("prompt", "chosen", "rejected")
    assert isinstance(next(convert([(1, row | change)], mapped)), LeftOut)


def test_empty_fields_of_tools_and_images_are_nothing() -> None:
    message = assistant("Noon.", tool_calls=[], function_call=None, reasoning_content="", audio={"id": None})
    row = {
        "prompt": [user([{"type": "text", "text": "time?", "image_url": None}])],
        "chosen": [message],
        "rejected": [assistant("No.")],
        "tools": "[]",
        "images": [],
        "image": {"bytes": None, "path": None},
        "note": float("nan"),
        "other": " ",
    }
    assert kept(row) == Kept(1, Pair([user("time?")], "Noon.", "No."))


def test_what_is_not_used_is_named_once_a_row() -> None:
    row = {
        "prompt": [
            {**user("time?"), "name": "Bo"},
            assistant("Late.", weight=0),
            {**user("and?"), "name": "Bo"},
        ],
        "chosen": [assistant([{"type": "text", "text": "Noon.", "cache_control": {"type": "x"}}], id="m1")],
        "rejected": [assistant("No.")],
        "source": "web",
        "meta": {"lang": "en", "tags": []},
        "flag": False,
        "count": 0,
        "reasoning": "Bo is kind.",
        "topic": "A clock.",
        "embedding": np.zeros(3),
        "nothing": np.zeros(0),
    }
    assert kept(row).unused == (
        "prompt.name",
        "prompt.weight",
        "chosen.id",
        "chosen.content.cache_control",
        "source",
        "meta",
        "flag",
        "count",
        "reasoning",
        "topic",
        "embedding",
    )


@pytest.mark.parametrize(
    "column",
    [
        {"context": "The clock is slow."},
        {"Context": "The clock is slow."},
        {"documents": ["The clock is slow."]},
        {"documents": [{"title": "Clocks", "text": "The clock is slow.", "id": 3}]},
        {"passages": {"text": ["The clock is slow."], "score": [0.5]}},
        {"article": "The clock is slow."},
        {"source_document": "The clock is slow."},
    ],
)
@pytest.mark.parametrize("asked", ["prompt", "question"])
def test_what_a_question_is_about_is_in_the_prompt_or_the_row_is_left_out(
    column: dict[str, Any], asked: str
) -> None:
    [name] = column
    answers = {"chosen": "Noon.", "rejected": "No."}
    row = {asked: "What time is it?", **answers, **column}
    (left_out,) = convert([(1, row)], detect([row]) or ColumnMapping(asked, "chosen", "rejected"))
    assert isinstance(left_out, LeftOut)
    assert left_out.reason.startswith(f"{name} says something that the prompt does not; put it into")
    whole = {**row, asked: "The clock\nis slow. What time is it?"}
    assert kept(whole).unused == (name,)
    assert kept({**row, name: ""}).unused == kept({**row, name: []}).unused == ()
    (mapped,) = convert([(1, row)], ColumnMapping(asked, "chosen", "rejected"))
    assert isinstance(mapped, Kept)


ONE = Pair("What time is it?", "Noon.", "No.")


def test_account_counts_rows_and_scores_and_survives_json() -> None:
    account = Account()
    for i in range(6):
        account.add(
            ("source", "note") if i else ("source",), Score(("good_score", "bad_score"), i % 3 - 1), ONE
        )
    account.add((), None, replace(ONE, weight=2.0, margin=0.5))
    account.add((), None, replace(ONE, weight=3.0))
    account.leave_out("a tie")
    account.remarks = ("Read as Windows-1252.",)
    again = Account.of(json.loads(json.dumps(account.as_dict())))
    assert again == account
    assert account.sentences() == [
        "Read as Windows-1252.",
        "Weights: 2 pairs, 2.5 on average.",
        "Margins: 1 pair, 0.5 on average.",
        "Not used: source (6 rows), note (5 rows).",
        "In 2 of 6 pairs with scores (good_score and bad_score) the rejected answer has the higher score.",
        "In 2 of 6 pairs with scores (good_score and bad_score) both answers have the same score.",
    ]
    assert again.why_left_out() == "a tie (1 row)"
    assert Account().sentences() == []
    assert Account.of({}) == Account()


def test_account_of_a_file_with_a_name_a_row_stays_small() -> None:
    account = Account()
    for i in range(MOST_NAMES + 50):
        account.add((f"key {i}",), None, ONE)
        account.leave_out(f"not UTF-8 at byte {i}")
    assert len(account.unused) == MOST_NAMES + 1
    assert account.unused[REST] == account.left_out[REST] == 50
    assert len(account.as_dict()["left_out"]) == MOST_REASONS


# Scores of the answers.


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"score_chosen": 2.0, "score_rejected": 9.0}, -1),
        ({"score_chosen": 9, "score_rejected": 2}, 1),
        ({"score_chosen": "9.5", "score_rejected": "10"}, -1),
        ({"chosen_score": 4, "rejected_score": 4.0}, 0),
        ({"chosen-rating": 4, "rejected-rating": 5}, -1),
        ({"chosen_avg_rating": 4, "rejected_avg_rating": 3}, 1),
        ({"rewardChosen": 0.5, "rewardRejected": 0.75}, -1),
        ({"margin": 0}, 0),
        ({"rating": [9.0, 9.0]}, 0),
        ({"rating": [9.0, 8.0]}, None),
        ({"score_chosen": 2.0, "score_rejected": None}, None),
        ({"score_chosen": True, "score_rejected": False}, None),
        ({"chosen_tokens": 3, "rejected_tokens": 4}, None),
        ({"score": 3}, None),
    ],
)
def test_scores_are_held_against_the_pair(scores: dict[str, Any], expected: int | None) -> None:
    result = kept({**PAIR, **scores})
    assert (result.score.sign if result.score else None) == expected
    assert result.unused == (
        () if expected is not None else tuple(n for n in scores if scores[n] is not None)
    )


# Messages written as text.

SAID = [user('It\'s "late" } { nan?'), assistant("Yes,\n'true'.")]
WRITTEN: dict[str, Callable[[Any], str]] = {
    "JSON": json.dumps,
    "spaced JSON": lambda value: " " + json.dumps(value, indent=2) + "\n",
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)),
    "Python": str,
    "tuple": lambda value: str(tuple(value)),
    "numpy": lambda value: str(np.array(value, dtype=object)),
    "numpy repr": lambda value: repr(np.array(value, dtype=object)),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_messages_written_as_text_are_messages(how: str) -> None:
    write = WRITTEN[how]
    asked, good, bad = [SAID[0]], [assistant("Yes.")], [assistant("No.")]
    expected = Pair(asked, "Yes.", "No.")
    assert kept({"prompt": write(asked), "chosen": write(good), "rejected": write(bad)}).pair == expected
    whole = {"chosen": write([*SAID, *asked, *good]), "rejected": write([*SAID, *asked, *bad])}
    assert kept(whole).pair == Pair([*SAID, *asked], "Yes.", "No.")
    shares = {"conversations": write([{"from": "human", "value": "Hi"}]), "chosen": "a", "rejected": "b"}
    assert kept(shares).pair.prompt == [user("Hi")]


@pytest.mark.parametrize("write", [json.dumps, str])
def test_one_object_written_as_text_is_a_message(write: Callable[[Any], str]) -> None:
    row = {"prompt": write(user("Hi")), "chosen": write(assistant("a")), "rejected": write(assistant("b"))}
    assert kept(row).pair == Pair([user("Hi")], "a", "b")


def test_nested_arrays_and_lists_of_roles_are_messages() -> None:
    parts = str([user(np.array([{"type": "text", "text": "Hi"}], dtype=object))])
    assert kept({"prompt": parts, "chosen": "a", "rejected": "b"}).pair.prompt == [user("Hi")]
    roles = {"role": ["user", "assistant", "user"], "content": ["Hi", "Hello", "Sky?"]}
    turns = [user("Hi"), assistant("Hello"), user("Sky?")]
    for prompt in (roles, str({name: np.array(value, dtype=object) for name, value in roles.items()})):
        assert (
            kept({"prompt": prompt, "chosen": [assistant("a")], "rejected": [assistant("b")]}).pair.prompt
            == turns
        )


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SAID)[:-3],
        str(SAID)[:-9],
        "[{'role': 'user', 'content': datetime(2020, 1, 1)}]",
        "[{'role': 'user', 'content': " + "(" * 5000,
        "[" * 5000 + "{'role': 'user', 'content': 'x'}",
    ],
)
@pytest.mark.parametrize("column", ["prompt", "chosen"])
def test_messages_that_cannot_be_read_leave_the_row_out(column: str, text: str) -> None:
    result = converted([PAIR, {**PAIR, column: text}])[1]
    assert result == LeftOut(2, f"{column} holds messages written as text that cannot be read")
    assert isinstance(converted([{**PAIR, "log": text}])[0], Kept)


@pytest.mark.parametrize(
    "text",
    [
        '{"role": "admin", "name": "x"}',
        "[1, 2]",
        "[link](x) said 'role': 'content':",
        "{x}",
        '"role": yes',
        "[]",
    ],
)
def test_text_with_brackets_that_holds_no_messages_stays_text(text: str) -> None:
    assert kept({**PAIR, "chosen": text}).pair.chosen == text


def test_no_answer_is_trained_on_as_written_messages() -> None:
    row = {**PAIR, "chosen": json.dumps([user("Hi")])}
    assert reason(row) == "chosen is not the assistant's turn"


# Layouts in wide use.


@pytest.mark.parametrize(
    ("name", "row", "pair"),
    [
        (
            "openai",
            {
                "input": {"messages": [user("Is 0 even?")], "tools": [], "parallel_tool_calls": True},
                "preferred_output": [assistant("Yes.")],
                "non_preferred_output": [assistant("No.")],
            },
            Pair([user("Is 0 even?")], "Yes.", "No."),
        ),
        (
            "ms_swift",
            {"messages": [system("s"), user("Hi"), assistant("a")], "rejected_response": "b"},
            Pair([system("s"), user("Hi")], "a", "b"),
        ),
        (
            "ms_swift",
            {"messages": [user("Hi"), assistant("a")], "rejected_messages": [user("Hi"), assistant("b")]},
            Pair([user("Hi")], "a", "b"),
        ),
        (
            "ms_swift",
            {"messages": [user("Hi"), assistant("a")], "rejected_messages": [assistant("b")]},
            Pair([user("Hi")], "a", "b"),
        ),
        (
            "ms_swift",
            {
                "system": "s",
                "query": "Hi",
                "response": "a",
                "rejected_response": "b",
                "history": [["x", "y"]],
            },
            Pair([system("s"), user("x"), assistant("y"), user("Hi")], "a", "b"),
        ),
        (
            "llama_factory_v1",
            {
                "chosen_messages": [
                    user([{"type": "text", "value": "Name a "}, {"type": "text", "value": "plant."}]),
                    assistant([{"type": "text", "value": "Fern."}], loss_weight=1.0),
                ],
                "rejected_messages": [
                    user([{"type": "text", "value": "Name a "}, {"type": "text", "value": "plant."}]),
                    assistant([{"type": "text", "value": "Rock."}]),
                ],
            },
            Pair([user("Name a plant.")], "Fern.", "Rock."),
        ),
        (
            "trl",
            {
                "prompt": [{"role": "developer", "content": "s"}, user("Hi")],
                "chosen": [{"role": "model", "content": "a"}],
                "rejected": [{"role": "Model", "content": "b"}],
            },
            Pair([system("s"), user("Hi")], "a", "b"),
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "Hi"}], "chosen": "a", "rejected": "b"},
            Pair([user("Hi")], "a", "b"),
        ),
    ],
)
def test_layout_in_wide_use_is_read(name: str, row: dict[str, Any], pair: Pair) -> None:
    how = detect([row])
    assert how is not None
    assert how.name == name
    assert kept(row).pair == pair
    as_text = {key: value if isinstance(value, str) else str(value) for key, value in row.items()}
    if "history" not in row:
        assert kept(as_text).pair == pair


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (
            {
                "input": {"messages": [user("time?")], "tools": [CALL]},
                "preferred_output": [assistant("a")],
                "non_preferred_output": [assistant("b")],
            },
            "input.tools cannot be kept",
        ),
        ({"messages": [user("Hi")], "rejected_response": "b"}, "the question and, as the last turn"),
        ({"messages": [assistant("x"), user("Hi")], "rejected_response": "b"}, "not the assistant's turn"),
        (
            {
                "messages": [user("Hi"), assistant("a")],
                "rejected_messages": [user("Bye"), assistant("b")],
            },
            "not the question",
        ),
    ],
)
def test_row_of_a_layout_that_says_something_else_is_left_out(row: dict[str, Any], why: str) -> None:
    assert why in reason(row)


def test_every_format_has_a_name_and_title_of_its_own() -> None:
    assert len({known.name for known in FORMATS}) == len({known.title for known in FORMATS}) == len(FORMATS)
