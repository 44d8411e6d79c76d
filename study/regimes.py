"""The three regimes: equally many pairs, which cover the reference's answers fully, narrowly or not at all.

- full: any two of the reference's own answers.
- partial: two of its answers from a narrow part of what it can say, :func:`is_narrow`.
- off-policy: two answers of another writer, `study/writer.py`.

Labels are drawn from the gold rewards by Bradley and Terry's model, so a worse answer is chosen now and then.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hypo_engine.data.formats import Pair
from study.gold import gold, words_of
from study.prompts import Question, is_held_out
from study.writer import two_answers

SHARPNESS: Final = 2.0
"""Label noise: an answer that is better by 1 is chosen with probability sigmoid(2) = 0.88."""

NARROW_WORDS: Final = 16
"""Longest answer of the narrow part, in words."""


class Regime(StrEnum):
    """What the pairs of a dataset cover."""

    FULL = "full"
    PARTIAL = "partial"
    OFF_POLICY = "off-policy"


@dataclass(frozen=True, slots=True)
class Sampled:
    """One of the reference's answers; `finished` if it has its end token."""

    text: str
    finished: bool


Pool = Mapping[str, Sequence[Sampled]]
"""The reference's answers to each prompt, by its text."""


class TooFewPairs(ValueError):
    """The pool is too small for the number of pairs."""


def is_narrow(text: str) -> bool:
    """Whether an answer is in the narrow part: one short sentence with its end."""
    stripped = text.strip()
    ends = sum(stripped.count(mark) for mark in ".!?")
    return 0 < len(words_of(stripped)) <= NARROW_WORDS and ends == 1 and stripped[-1] in ".!?"


def make_pairs(
    regime: Regime,
    questions: Sequence[Question],
    pool: Pool,
    *,
    held_out: float,
    training: int,
    seed: int = 0,
) -> list[Pair]:
    """A regime's pairs: exactly `training` on prompts that are trained on, and one on each held-out prompt.

    A prompt has its second pair after every prompt had the chance of its first.

    Raises:
        TooFewPairs: the pool has not as many different pairs.
    """
    draws = {one.text: random.Random(f"{regime}/{seed}/{one.text}") for one in questions}
    trained = [one for one in questions if not is_held_out(one, held_out)]
    candidates = {one.text: list(_pairs_of(regime, one, pool, draws[one.text])) for one in trained}
    found: list[Pair] = []
    for turn in range(max(map(len, candidates.values()), default=0)):
        for one in trained:
            if turn < len(candidates[one.text]) and len(found) < training:
                found.append(_labelled(one, candidates[one.text][turn], draws[one.text]))
    if len(found) < training:
        raise TooFewPairs(f"The pool has {len(found)} {regime} pairs, and {training} are needed.")
    rest = [one for one in questions if is_held_out(one, held_out)]
    return found + [
        _labelled(one, _any_pair(regime, one, pool, draws[one.text]), draws[one.text]) for one in rest
    ]


def chosen_probability(first: float, second: float) -> float:
    """The probability with which the first of two gold rewards is labelled the better one."""
    return 1 / (1 + math.exp(-SHARPNESS * (first - second)))


def _pairs_of(regime: Regime, one: Question, pool: Pool, draw: random.Random) -> Iterator[tuple[str, str]]:
    """Pairs of different answers to a prompt; no answer is in two of them."""
    if regime is Regime.OFF_POLICY:
        for _ in range(len(pool[one.text]) // 2):
            yield two_answers(one.topic, draw)
        return
    texts = [sampled.text for sampled in pool[one.text] if sampled.text.strip()]
    if regime is Regime.PARTIAL:
        texts = [sampled.text for sampled in pool[one.text] if sampled.finished and is_narrow(sampled.text)]
    texts = list(dict.fromkeys(texts))
    draw.shuffle(texts)
    yield from zip(texts[::2], texts[1::2], strict=False)


def _any_pair(regime: Regime, one: Question, pool: Pool, draw: random.Random) -> tuple[str, str]:
    """A pair of the regime on a held-out prompt; if it has none, its two shortest answers."""
    found = next(_pairs_of(regime, one, pool, draw), None)
    if found is not None:
        return found
    texts = sorted({sampled.text for sampled in pool[one.text] if sampled.text.strip()}, key=len)
    if len(texts) < 2:
        raise TooFewPairs(f"The pool has no two answers to {one.text!r}.")
    return texts[0], texts[1]


def _labelled(one: Question, answers: tuple[str, str], draw: random.Random) -> Pair:
    first, second = answers
    likely = chosen_probability(gold(one.topic, first).total, gold(one.topic, second).total)
    chosen, rejected = (first, second) if draw.random() < likely else (second, first)
    return Pair(one.turns, chosen, rejected)
