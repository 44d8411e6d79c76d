from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypo_engine.config import PromptStyle
from hypo_engine.data.formats import Pair
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.errors import ConfigError, DataError
from hypo_engine.models.load import load_tokenizer
from tests.tiny_model import write_tiny_model

BOS, START, END = 0, 1, 2  # <|endoftext|>, <|im_start|>, <|im_end|>
TURNS = [{"role": "user", "content": "What is Paris?"}]


@pytest.fixture(scope="module")
def tokenizer(tiny: Callable[[str], Path]) -> Any:
    return load_tokenizer(str(tiny("llama")))


@pytest.fixture(scope="module")
def with_bos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_tiny_model(tmp_path_factory.mktemp("bos"), chat_template=False, add_bos=True)
    return load_tokenizer(str(folder))


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def tokens_of(tokenizer: Any, pair: Pair, **limits: int) -> Any:
    limits = {"max_prompt_length": 100, "max_completion_length": 100} | limits
    return tokenize_pairs([pair], Tokenization(tokenizer, PromptStyle.AUTO), **limits)


def test_prompt_and_completion_are_tokenised_apart_and_differences_counted(tokenizer: Any) -> None:
    pair = Pair("The quick brown fo", "x jumps", " jumps")
    (tokens,), report = tokens_of(tokenizer, pair)
    assert tokens.prompt == ids_of(tokenizer, "The quick brown fo")
    assert tokens.chosen == [*ids_of(tokenizer, "x jumps"), END]
    assert tokens.prompt + tokens.chosen[:-1] != ids_of(tokenizer, "The quick brown fox jumps")
    assert report.boundary_differences == 1
    assert "tokenised separately" in report.sentences(100, 100)[0]


def test_no_difference_where_there_is_none(tokenizer: Any) -> None:
    _, report = tokens_of(tokenizer, Pair(TURNS, "The capital of France.", "No."))
    assert report.boundary_differences == 0
    assert report.sentences(100, 100) == []


def test_the_end_token_stands_once(tokenizer: Any) -> None:
    for text in ("Paris.", "Paris.<|im_end|>", "Paris.<|im_end|><|im_end|>"):
        (tokens,), _ = tokens_of(tokenizer, Pair(TURNS, text, ""))
        assert tokens.chosen == [*ids_of(tokenizer, "Paris."), END]
        assert tokens.rejected == []


def test_the_beginning_token_stands_once(with_bos: Any) -> None:
    for text in ("The fox", "<|endoftext|>The fox"):
        (tokens,), _ = tokens_of(with_bos, Pair(text, "jumps", "rests"))
        assert tokens.prompt == [BOS, *ids_of(with_bos, "The fox")]
        assert BOS not in tokens.chosen


def test_an_empty_prompt_has_a_token(tokenizer: Any) -> None:
    (tokens,), _ = tokens_of(tokenizer, Pair("", "jumps", "rests"))
    assert tokens.prompt == [BOS]


def test_conversations_go_through_the_chat_template(tokenizer: Any) -> None:
    tokenization = Tokenization(tokenizer, PromptStyle.AUTO)
    assert tokenization.render(TURNS) == (
        "<|im_start|>user\nWhat is Paris?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenization.prompt_ids(TURNS)[0] == START
    assert tokenization.render("What is Paris?") == "What is Paris?"


def test_chat_style_makes_a_plain_prompt_a_turn(tokenizer: Any) -> None:
    chat = Tokenization(tokenizer, PromptStyle.CHAT)
    assert chat.render("What is Paris?") == chat.render(TURNS)


def test_plain_style_and_no_template_write_turns_as_text(tokenizer: Any, with_bos: Any) -> None:
    turns = [*TURNS, {"role": "assistant", "content": "A city."}, {"role": "user", "content": "Where?"}]
    expected = "User:\nWhat is Paris?\n\nAssistant:\nA city.\n\nUser:\nWhere?\n\nAssistant:\n"
    told = [{"role": "system", "content": "Be kind."}, *TURNS]
    for tokenization in (
        Tokenization(tokenizer, PromptStyle.PLAIN),
        Tokenization(with_bos, PromptStyle.AUTO),
    ):
        assert tokenization.render(turns) == expected
        assert tokenization.render(told) == "System:\nBe kind.\n\nUser:\nWhat is Paris?\n\nAssistant:\n"


def test_without_a_template_an_only_turn_is_a_plain_prompt(with_bos: Any) -> None:
    tokenization = Tokenization(with_bos, PromptStyle.AUTO)
    assert tokenization.render(TURNS) == "What is Paris?"
    asked, _ = tokens_of(with_bos, Pair(TURNS, "A city.", "No."))
    given, _ = tokens_of(with_bos, Pair("What is Paris?", "A city.", "No."))
    assert list(asked) == list(given)


def test_chat_style_needs_a_template(with_bos: Any) -> None:
    with pytest.raises(ConfigError, match="use auto or plain"):
        Tokenization(with_bos, PromptStyle.CHAT)


def test_a_template_that_refuses_is_a_data_error(tokenizer: Any) -> None:
    tokenization = Tokenization(tokenizer, PromptStyle.AUTO)
    before = tokenizer.chat_template
    tokenizer.chat_template = "{{ raise_exception('turns must alternate') }}"
    try:
        with pytest.raises(DataError, match="turns must alternate"):
            tokenization.render(TURNS)
    finally:
        tokenizer.chat_template = before


def test_the_end_of_a_turn_is_what_the_template_writes(tiny: Callable[[str], Path]) -> None:
    tokenizer = load_tokenizer(str(tiny("llama")))
    tokenizer.eos_token = "<|endoftext|>"  # as in models with different end tokens for turns and texts
    tokenization = Tokenization(tokenizer, PromptStyle.AUTO)
    assert tokenization.end_id(TURNS) == END
    assert tokenization.end_id("plain") == BOS


def test_trimming_takes_the_left_of_the_prompt_and_is_counted(tokenizer: Any) -> None:
    pair = Pair("one two three four five", "Paris.", "No.")
    whole = ids_of(tokenizer, pair.prompt)  # type: ignore[arg-type]
    (tokens,), report = tokens_of(tokenizer, pair, max_prompt_length=4)
    assert tokens.prompt == whole[-4:]
    assert tokens.chosen == [*ids_of(tokenizer, "Paris."), END]  # the answer is never trimmed
    assert report.trimmed_prompts == 1
    assert "lost tokens on the left" in report.sentences(4, 100)[0]


def test_trimming_keeps_the_beginning_token(with_bos: Any) -> None:
    (tokens,), _ = tokens_of(with_bos, Pair("one two three four", "a", "b"), max_prompt_length=4)
    assert tokens.prompt == [BOS, *ids_of(with_bos, "one two three four")[-3:]]


def test_too_long_an_answer_is_left_out_and_counted(tokenizer: Any) -> None:
    short, long = Pair("a", "Paris", "No"), Pair("a", "No", "A long answer wanders. " * 3)
    limit = len(ids_of(tokenizer, long.rejected)) + 1  # the end token counts
    tokenization = Tokenization(tokenizer, PromptStyle.AUTO)
    limits = {"max_prompt_length": 10, "max_completion_length": limit}
    kept, report = tokenize_pairs([long, short], tokenization, **limits)
    assert [t.source_index for t in kept] == [0, 1]
    assert report.left_out == 0
    limits["max_completion_length"] -= 1
    kept, report = tokenize_pairs([long, short], tokenization, **limits)
    assert [t.source_index for t in kept] == [1]
    assert report.left_out == 1
