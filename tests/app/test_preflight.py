"""The preflight check, and token counts."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from app.preflight import Preflight, check_pairs
from app.settings import Settings
from app.tokens import MODEL, token_counter
from hypo_engine.data.formats import Pair


def test_duplicates_contradictions_and_the_length_rule_are_counted() -> None:
    question = [{"role": "user", "content": "q"}]
    pairs = [
        Pair("p", "long answer", "short"),
        Pair("p", "long answer", "short"),
        Pair("p", "short", "long answer"),
        Pair(question, "longest", "long"),
        Pair(question, "one", "two"),
    ]
    assert check_pairs(iter(pairs)) == Preflight(
        pairs=5, prompts=2, duplicates=1, contradictions=1, longer_wins=0.75, complete=True
    )


def test_nothing_to_check_and_more_than_is_checked() -> None:
    assert check_pairs([]) == Preflight(0, 0, 0, 0, None, True)
    assert check_pairs([Pair("p", "a", "b")] * 3, most=2) == Preflight(2, 1, 1, 0, None, False)


def test_tokens_are_counted_once_the_tokenizer_is_there(settings: Settings) -> None:
    assert token_counter(settings) is None
    folder = settings.models_dir / MODEL
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("no tokenizer")
    assert token_counter(settings) is None
    tokenizer = Tokenizer(WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = WhitespaceSplit()  # type: ignore[assignment]
    (folder / "tokenizer.json").unlink()
    tokenizer.save(str(folder / "tokenizer.json"))
    counter = token_counter(settings)
    assert counter is not None
    assert counter.count("a b a") == 3
    assert counter.count([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b a"}]) == 3


@pytest.mark.parametrize("texts", [("a", "b"), ("ab", "ba")])
def test_answers_of_one_length_say_nothing_about_length(texts: tuple[str, str]) -> None:
    assert check_pairs([Pair("p", *texts)]).longer_wins is None
