"""``python -m benchmarks.pairs``: memory that a dataset's pairs take in a training process.

Pairs of random words are read as in a worker, tokenised at one token per word, and kept as texts and ids, as
in a run. The output is the process's memory beyond that of the same process without pairs.
"""

import argparse
import random
import resource
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from benchmarks.meter import resident_bytes
from hypo_engine.config import PromptStyle
from hypo_engine.data.pair import Pair
from hypo_engine.data.pair_texts import PairTexts
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs

_LENGTHS = (40, 29, 29)
"""Words of prompt, chosen and rejected. With both end tokens a pair has 100 tokens."""

_VOCABULARY = 49_152


class WordTokenizer:
    """One token per word, such as 123 for ``w123``, with the part of transformers' interface that is used."""

    chat_template = None
    bos_token_id = None
    eos_token_id = 0
    eos_token = "w0"

    def __call__(self, text: str, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[int(word[1:]) for word in text.split()])


def random_pairs(count: int) -> Iterator[Pair]:
    """Reproducible random pairs with distinct texts."""
    source = random.Random(0)
    for _ in range(count):
        words = [f" w{int(source.random() * _VOCABULARY)}" for _ in range(sum(_LENGTHS))]
        prompt, chosen, _ = _LENGTHS
        yield Pair(
            "".join(words[:prompt]),
            "".join(words[prompt : prompt + chosen]),
            "".join(words[prompt + chosen :]),
        )


def main(arguments: list[str]) -> int:
    """Print the memory and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs")
    parser.add_argument("--rows", type=int, default=500_000)
    rows = parser.parse_args(arguments).rows
    tokenization = Tokenization(WordTokenizer(), PromptStyle.AUTO)

    empty = resident_bytes()
    texts = PairTexts(random_pairs(rows))
    read = resident_bytes()
    tokens, _ = tokenize_pairs(texts, tokenization, max_prompt_length=512, max_completion_length=256)
    kept = resident_bytes()
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(f"{len(tokens):,} pairs of {tokens[0].tokens} tokens; GB over the same process without pairs:")
    sizes = {"texts": read - empty, "token ids": kept - read, "both": kept - empty, "peak": peak - empty}
    for name, size in sizes.items():
        print(f"{name:<10}{size / 1e9:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
