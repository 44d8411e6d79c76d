from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from hypo_engine.decoding.detokenize import TextStream
from hypo_engine.models.load import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny: Callable[[str], Path]) -> PreTrainedTokenizerBase:
    return load_tokenizer(str(tiny("llama")))  # type: ignore[no-any-return]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=30))
def test_no_half_character_is_ever_shown(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    stream, before = TextStream(tokenizer), ""
    for token in ids:
        stream.add(token)
        assert stream.text.startswith(before)
        assert "\ufffd" not in stream.text
        before = stream.text
    assert stream.text == tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(stream.pieces) == stream.text
    assert len(stream.pieces) == len(ids)


def test_a_character_of_four_bytes_comes_whole(tokenizer: PreTrainedTokenizerBase) -> None:
    stream = TextStream(tokenizer)
    ids = tokenizer("a🦊b", add_special_tokens=False).input_ids
    assert len(ids) == 6
    for token in ids:
        stream.add(token)
    assert stream.pieces == ["a", "", "", "", "🦊", "b"]


def test_bytes_that_are_no_character_do_not_stop_the_stream(tokenizer: PreTrainedTokenizerBase) -> None:
    stream = TextStream(tokenizer)
    broken = tokenizer("é", add_special_tokens=False).input_ids[:1]
    for token in broken * 6:
        stream.add(token)
    assert "\ufffd" in stream.text


def test_the_end_token_shows_in_the_pieces_only(tokenizer: PreTrainedTokenizerBase) -> None:
    stream = TextStream(tokenizer)
    stream.add(tokenizer("a").input_ids[0])
    stream.add(2, special=True)
    assert stream.text == "a"
    assert stream.pieces == ["a", "<|im_end|>"]
