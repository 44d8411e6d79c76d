"""Verdicts on two answers, A and B: which one is better, or why neither is. No torch here.

A verdict is a word, a number, a list with one entry per annotator, or an object that wraps one of these.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hypo_engine.data.rows import RowError, is_empty
from hypo_engine.data.written import read_literal

A, B, TIE, BAD = "a", "b", "tie", "bad"

_WRAPPERS = ("selected", "choices", "labels", "value", "values", "rating", "text", "winner", "preference")
_BAD = re.compile(r"\b(both|all)[\s_-]*(are[\s_-]*)?bad\b|bothbad|\bneither (is|are) good\b")
_TIE = re.compile(r"\b(tie|tied|draw|equal(ly)?|same|neither|none|both|no[\s_-]*preference|similar)\b")
_BOUND = re.compile(r"(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)")


def better_of(value: Any, column: str, a_wins: Sequence[str], b_wins: Sequence[str]) -> str:
    """`a` or `b`, whichever is better according to the value; several annotators decide by majority.

    Args:
        a_wins: values that mean A is better: words, numbers, or bounds such as `<0` and `>= 4`.

    Raises:
        RowError: a tie, both bad, divided annotators, no value, or one that names neither answer.
    """
    said = Counter(_side(each, a_wins, b_wins) for each in opinions(value))
    if not said:
        raise RowError(f"{column} is empty: nobody chose")
    if said[A] != said[B]:
        return A if said[A] > said[B] else B
    if said[A]:
        raise RowError("the annotators are divided")
    if said[BAD]:
        raise RowError("both answers are bad: neither is preferred")
    if said[TIE]:
        raise RowError("a tie: neither answer is preferred")
    raise RowError(f"{column} holds a value that names neither answer")


def opinions(value: Any) -> Iterator[str]:
    """The verdict of each annotator, unwrapped, in lower case; numbers without a trailing .0."""
    if is_empty(value):
        return
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = read_literal(value)
        except ValueError:
            yield normal(value)
            return
    if isinstance(value, list | tuple):
        yield from (
            _first_ranked(value)
            if _is_ranking(value)
            else (word for inner in value for word in opinions(inner))
        )
    elif isinstance(value, dict):
        inner = next((value[key] for key in _WRAPPERS if not is_empty(value.get(key))), None)
        yield from opinions(inner)
    else:
        yield normal(value)


def normal(value: object) -> str:
    """A value normalized for comparison: `Model_A` equals `model_a`, and 1, 1.0 and "1" are equal."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).casefold().split()).removesuffix(".0")


def names_neither(word: str) -> bool:
    """Whether a word means a tie, or that both answers are bad."""
    return bool(_BAD.search(word) or _TIE.search(word))


def _is_ranking(value: Sequence[Any]) -> bool:
    return all(isinstance(item, dict) and {"value", "rank"} <= item.keys() for item in value)


def _first_ranked(value: Sequence[Any]) -> Iterator[str]:
    ranked = [item for item in value if isinstance(item["rank"], int)]
    best = min((item["rank"] for item in ranked), default=0)
    first = [item["value"] for item in ranked if item["rank"] == best]
    if first:
        yield normal(first[0]) if len(first) == 1 else TIE


def _side(word: str, a_wins: Sequence[str], b_wins: Sequence[str]) -> str:
    for side, wanted in ((A, a_wins), (B, b_wins)):
        if any(_matches(word, one) for one in wanted):
            return side
    if _BAD.search(word):
        return BAD
    return TIE if _TIE.search(word) else ""


def _matches(word: str, wanted: str) -> bool:
    bound = _BOUND.fullmatch(wanted.strip())
    if bound is None:
        return word == normal(wanted)
    try:
        number, limit = float(word), float(bound[2])
    except ValueError:
        return False
    return {
        "<": number < limit,
        ">": number > limit,
        "<=": number <= limit,
        ">=": number >= limit,
    }[bound[1]]
