"""Pairs in compact storage, as texts and as token ids: a lossless round trip and little memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypo_engine.config import PromptStyle
from hypo_engine.data.pair import Pair
from hypo_engine.data.pair_texts import PairTexts
from hypo_engine.data.token_pairs import TokenPair, TokenPairs
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.models.load import load_tokenizer

WEIGHTS = st.just(1.0) | st.floats(1e-3, 1e3)
IDS = st.lists(st.integers(0, 300_000), min_size=1, max_size=9)
TOKEN_PAIRS = st.lists(st.builds(TokenPair, st.integers(0, 9), IDS, IDS, IDS, WEIGHTS, WEIGHTS), max_size=9)
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
TURNS = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXT}), min_size=1, max_size=3)
PAIRS = st.lists(st.builds(Pair, TEXT | TURNS, TEXT, TEXT, WEIGHTS, WEIGHTS), max_size=9)


@given(TOKEN_PAIRS, st.integers(0, 9))
def test_token_pairs_are_those_put_in(pairs: list[TokenPair], cut: int) -> None:
    kept = TokenPairs(pairs)
    assert list(kept) == pairs
    assert kept[cut:] == pairs[cut:]
    assert kept.token_ids() == {i for pair in pairs for part in pair_parts(pair) for i in part}


def pair_parts(pair: TokenPair) -> tuple[list[int], ...]:
    return pair.prompt, pair.chosen, pair.rejected


@given(PAIRS, st.integers(0, 9))
def test_texts_are_those_put_in(pairs: list[Pair], cut: int) -> None:
    kept = PairTexts(pairs)
    assert list(kept) == pairs
    assert kept[cut:] == pairs[cut:]


def test_items_are_counted_from_both_ends() -> None:
    kept = PairTexts([Pair("a", "b", "c"), Pair("d", "e", "f")])
    assert kept[-1] == kept[1] == Pair("d", "e", "f")
    with pytest.raises(IndexError):
        kept[2]
    with pytest.raises(IndexError):
        TokenPairs()[0]


def test_a_prompt_of_neighbours_is_stored_once() -> None:
    prompt = list(range(1000))
    alone = TokenPairs([TokenPair(0, prompt, [1], [2])])
    shared = TokenPairs(TokenPair(i, prompt, [1], [2]) for i in range(10))
    assert shared.nbytes < 1.2 * alone.nbytes
    assert shared[9] == TokenPair(9, prompt, [1], [2])


def test_pairs_take_few_bytes_a_token(tiny: Callable[[str], Path]) -> None:
    """Lists of integers would take at least eight bytes per token, and each text a string object."""
    tokenization = Tokenization(load_tokenizer(str(tiny("llama"))), PromptStyle.PLAIN)
    texts = [f"{i}: the quick brown fox jumps over the lazy dog and runs away " for i in range(600)]
    given = [Pair(*texts[i : i + 3]) for i in range(0, len(texts), 3)]
    tokenize_pairs(given, tokenization, max_prompt_length=500, max_completion_length=500)
    tracemalloc.start()
    try:
        kept_texts = PairTexts(given)
        of_texts = tracemalloc.get_traced_memory()[0]
        kept, _ = tokenize_pairs(kept_texts, tokenization, max_prompt_length=500, max_completion_length=500)
        of_tokens = tracemalloc.get_traced_memory()[0] - of_texts
    finally:
        tracemalloc.stop()
    tokens, characters = sum(pair.tokens for pair in kept), sum(map(len, texts))
    assert len(kept) == 200
    assert kept.nbytes < 5 * tokens
    assert of_tokens < 6 * tokens
    assert of_texts < 1.5 * characters
