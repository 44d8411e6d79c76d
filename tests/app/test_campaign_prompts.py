"""Prompts of a campaign: pasted lines, files, texts and messages."""

from pathlib import Path
from typing import Any

import pytest

from app import campaign_prompts
from app.errors import InvalidInput
from app.settings import get_settings

pytestmark = pytest.mark.usefixtures("settings")


def test_lines_are_prompts_and_repeated_ones_count_once() -> None:
    found = campaign_prompts.of_lines("One?\n\n  Two?  \r\nOne?\n")
    assert [prompt.question for prompt in found] == ["One?", "Two?"]
    same = ["One?", " One? ", [{"role": "user", "content": "One?"}]]
    assert len(campaign_prompts.checked(same)) == 1


@pytest.mark.parametrize(
    ("name", "content", "questions"),
    [
        ("p.txt", "One?\nTwo?\n", ["One?", "Two?"]),
        ("p.jsonl", '{"prompt": "One?"}\n{"question": "Two?"}\n', ["One?", "Two?"]),
        ("p.csv", "instruction,other\nOne?,1\nTwo?,2\n", ["One?", "Two?"]),
        ("p.json", '["One?", "Two?"]', ["One?", "Two?"]),
        (
            "p.jsonl",
            '{"messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "1"}]}\n',
            ["One?"],
        ),
    ],
)
def test_prompts_of_a_file(tmp_path: Path, name: str, content: str, questions: list[str]) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert [prompt.question for prompt in campaign_prompts.of_file(path, name)] == questions


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("p.txt", "\n\n", "has no prompts"),
        ("p.jsonl", '{"prompt": "One?"}\n{"answer": "2"}\n', "Row 2 has no prompt; .* prompt, question"),
        ("p.jsonl", '{"messages": [{"role": "assistant", "content": "1"}]}\n', "Row 1: prompt missing"),
        ("p.jsonl", '{"messages": 7}\n', "Row 1: .*"),
        ("p.jsonl", '{"prompt": "One?"}\n{broken\n', "Row 2: "),
        ("p.jsonl", '{"prompt": 5}\n', "Row 1: "),
    ],
)
def test_a_file_without_prompts_is_told_with_its_row(
    tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InvalidInput, match=sentence):
        campaign_prompts.of_file(path, name)


@pytest.mark.parametrize("prompt", ["", "  ", 7, None, [], [{"role": "assistant", "content": "x"}], {"a": 1}])
def test_a_prompt_that_cannot_be_asked_is_told_with_its_number(prompt: Any) -> None:
    with pytest.raises(InvalidInput, match="Prompt 2 ") as caught:
        campaign_prompts.checked(["One?", prompt])
    assert caught.value.field == "prompts"


def test_a_prompt_has_a_longest_length() -> None:
    longest = get_settings().max_prompt_chars
    with pytest.raises(InvalidInput, match=f"Prompt 1 has {longest + 1:,} characters"):
        campaign_prompts.checked(["x" * (longest + 1)])
