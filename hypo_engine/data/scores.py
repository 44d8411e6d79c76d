"""The scores of a row's two answers, compared with its preference. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hypo_engine.data.columns import tokens
from hypo_engine.data.rows import Row, is_empty
from hypo_engine.data.written import written_list

_SCORES = frozenset({"score", "scores", "rating", "ratings", "reward", "rewards", "grade"})


@dataclass(frozen=True, slots=True)
class Score:
    """How a row's scores relate to its preference: 1 they agree, 0 they are equal, -1 they contradict it."""

    columns: tuple[str, ...]
    sign: int


def score_of(row: Row, chosen_side: str = "", rejected_side: str = "") -> Score | None:
    """Compare the scores of the two answers with the preference, if the row has any.

    Args:
        chosen_side: the word in the name of the chosen answer's column, such as `a` or `1`; empty if the
            columns are called chosen and rejected.
    """
    columns: tuple[str, ...] | None = _score_columns(
        tuple(row), chosen_side or "chosen", rejected_side or "rejected"
    )
    if columns is not None:
        values = [_number(row.peek(column)) for column in columns]
        if values[0] is None or values[1] is None:
            return None
        difference = values[0] - values[1]
    else:
        columns, difference = _one_column(row, sided=not chosen_side)
        if columns is None:
            return None
    for column in columns:
        row.get(column)
    return Score(columns, (difference > 0) - (difference < 0))


@lru_cache(maxsize=256)
def _score_columns(names: Sequence[str], chosen: str, rejected: str) -> tuple[str, str] | None:
    by_words = {tokens(name): name for name in names}
    for name in names:
        words = tokens(name)
        if chosen in words and _SCORES & set(words):
            other = tuple(rejected if word == chosen else word for word in words)
            if other in by_words:
                return name, by_words[other]
    return None


def _one_column(row: Row, *, sided: bool) -> tuple[tuple[str, ...] | None, float]:
    """A margin, chosen minus rejected; or a list of both ratings, which can only show that they are equal."""
    margin = _number(row.peek("margin")) if sided else None
    if margin is not None:
        return ("margin",), margin
    for name in row:
        if len(tokens(name)) == 1 and tokens(name)[0] in _SCORES:
            values = written_list(row.peek(name))
            both = [_number(value) for value in values] if isinstance(values, list) else []
            if len(both) == 2 and both[0] is not None and both[0] == both[1]:
                return (name,), 0.0
    return None, 0.0


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or is_empty(value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) != float("inf") and number == number else None
