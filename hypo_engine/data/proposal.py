"""A column mapping guessed from column names and a few rows, for the user to check. No torch here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypo_engine.data.columns import QUESTIONS, SYSTEMS, tokens
from hypo_engine.data.mapping import different_words, value_at
from hypo_engine.data.rows import Row, RowError, is_empty, is_message
from hypo_engine.data.verdicts import names_neither, normal, opinions

MOST_COLUMNS = 100
MOST_VALUES = 12
DEEPEST_PATH = 8

_BETTER = ("chosen", "preferred", "accepted", "good", "better", "best", "winner", "positive", "pos", "win")
_WORSE = ("rejected", "dispreferred", "rejected", "bad", "worse", "worst", "loser", "negative", "neg", "lose")
_FIRST = ("a", "0", "1", "left", "first", "one", "x")
_SECOND = ("b", "1", "2", "right", "second", "two", "y")
_WINNERS = (
    "winner",
    "preferred",
    "preference",
    "better",
    "best",
    "choice",
    "verdict",
    "vote",
    "selected",
    "comparison",
    "label",
    "labels",
)
_ASKED = ("prompt", *QUESTIONS, "context", "post", "task", "history")
_ANSWERING = frozenset(
    {"response", "answer", "output", "completion", "conversation", "reply", "ref", "summary"}
)
_NO_ANSWERS = frozenset({"model", "generator", "id", "source", "name", "score", "rating", "user", "tokens"})
_NO_VERDICTS = frozenset(
    {"users", "status", "user", "reason", "strength", "confidence", "type", "model", "name"}
)
_IDS = frozenset({"id", "index", "idx"})
_WORD = re.compile(r"[^\W_]+")
_BEST = frozenset({"better", "best", "prefer", "preferred", "win", "winner", "wins", "won"})
_AROUND = _BEST | frozenset(
    {"answer", "assistant", "candidate", "chatbot", "chosen", "completion", "conversation", "is", "model"}
    | {"one", "option", "output", "reply", "response", "side", "summary", "text", "the", "was"}
    | {"clearly", "much", "significantly", "slightly", "somewhat", "strongly"}
)
"""Words that do not change the meaning of a value that names a side."""


def column_names(rows: Sequence[object]) -> list[str]:
    """The columns of the rows, and paths into their objects, in the order they appear."""
    found: dict[str, None] = {}
    for row in rows:
        if isinstance(row, Mapping):
            for path in _paths(row, ""):
                found[path] = None
            if len(found) >= MOST_COLUMNS:
                break
    return list(found)[:MOST_COLUMNS]


def _paths(value: Any, path: str, depth: int = DEEPEST_PATH) -> Iterator[str]:
    if path:
        yield path
    if depth == 0 or is_message(value):
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}" if path else str(name), depth - 1)
    elif path and isinstance(value, list):
        for item in value[:3]:
            if isinstance(item, Mapping) and not is_message(item):
                yield from (inner for inner in _paths(item, path, depth - 1) if inner != path)


def propose(rows: Sequence[object]) -> dict[str, Any]:
    """Propose a mapping in the form of `mapping.read_mapping`; parts without evidence are missing."""
    names = column_names(rows)
    texts = [name for name in names if not _NO_ANSWERS & set(_last(name)) and _are_texts(name, rows)]
    answers = _two(texts, _BETTER, _WORSE)
    if answers:
        return _with_prompt({"chosen": answers[0], "rejected": answers[1]}, texts)
    sides = _two(texts, _FIRST, _SECOND)
    if not sides:
        return _with_prompt({}, texts)
    found: dict[str, Any] = {"a": sides[0], "b": sides[1]}
    winner = _winner([name for name in names if name not in sides], rows)
    if winner:
        wins = wins_of(values_of(winner, rows), sides, winner)
        found |= {"winner": winner, "a_wins": wins[0], "b_wins": wins[1]}
    return _with_prompt(found, texts)


def values_of(column: str, rows: Sequence[object]) -> list[str]:
    """The first distinct values of a winner column in these rows."""
    found: dict[str, None] = {}
    for value in _values(column, rows):
        for word in opinions(value):
            found[word] = None
    return list(found)[:MOST_VALUES]


def _values(column: str, rows: Sequence[object]) -> list[Any]:
    values = []
    for row in rows:
        if isinstance(row, Mapping):
            try:
                values.append(value_at(Row(row), column))
            except RowError:
                continue
    return [value for value in values if not is_empty(value)]


def is_column(path: str, rows: Sequence[object]) -> bool:
    """Whether any of the rows has this column, or a value at this path."""
    named = any(isinstance(row, Mapping) and path in row for row in rows)
    return named or bool(_values(path, rows))


def _are_texts(column: str, rows: Sequence[object]) -> bool:
    values = _values(column, rows)
    texts = sum(isinstance(value, str) or _is_conversation(value) for value in values)
    return 0 < len(values) <= texts * 2


def _is_conversation(value: Any) -> bool:
    return is_message(value) or (isinstance(value, list) and bool(value) and is_message(value[0]))


def _last(path: str) -> tuple[str, ...]:
    return tokens(path.rpartition(".")[2])


def _two(names: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]) -> tuple[str, str] | None:
    """Two columns whose names differ in one word of a pair such as a/b; answers by name come first."""
    by_words = {tokens(name): name for name in names}
    found = []
    for place, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        for words, name in by_words.items():
            other = tuple(second if word == first else word for word in words)
            if first in words and other in by_words:
                found.append((not _ANSWERING & set(words), len(words), place, name, by_words[other]))
    return min(found)[3:] if found else None


def _winner(names: Sequence[str], rows: Sequence[object]) -> str | None:
    found = []
    for name in names:
        words = _last(name)
        places = [_WINNERS.index(word) for word in words if word in _WINNERS]
        parent = [word for word in tokens(name) if word in _WINNERS]
        if (places or parent) and not _NO_VERDICTS & set(words) and values_of(name, rows):
            found.append((min(places, default=len(_WINNERS)), -name.count("."), len(name), name))
    return min(found)[3] if found else None


def wins_of(values: Sequence[str], sides: tuple[str, str], winner: str = "") -> tuple[list[str], list[str]]:
    """The values that name each side, if every observed value names a side or a tie; otherwise none.

    A value names a side by its column's name, or by one word amid words such as `model` and `is better`.
    Numbers name a side only as 1 and 2 of columns 1 and 2, and as 0 and 1 where `winner` is the id of columns
    0 and 1. The meaning of a scale, or of 0 and 1 for other columns, cannot be known.
    """
    own = different_words(*sides)
    named = _words_of_sides(own)
    numbers = {value for value in values if _is_number(value)}
    if len(values) >= MOST_VALUES or (numbers and not _are_columns_numbers(numbers, own, winner)):
        return [], []
    wins: tuple[list[str], list[str]] = ([], [])
    for value in values:
        side = _side_of(value, sides, named)
        if side is not None:
            wins[side].append(value)
        elif not _is_tie(value, named):
            return [], []
    for words in () if numbers else named:
        for side in (0, 1):
            if wins[side] == [words[side]] and not wins[1 - side]:
                wins[1 - side].append(words[1 - side])
    return wins


def _words_of_sides(own: tuple[str, str]) -> list[tuple[str, str]]:
    """Pairs of words for the two sides; left and right apply only to columns that have an order."""
    if own in zip(_FIRST, _SECOND, strict=True):
        return list(dict.fromkeys([("left", "right"), ("first", "second"), ("a", "b"), own]))
    return [own] if own[0] else []


def _is_number(value: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d+)?", value) is not None


def _are_columns_numbers(numbers: set[str], own: tuple[str, str], winner: str) -> bool:
    counted = own == ("1", "2") or (own == ("0", "1") and bool(_IDS & set(_last(winner))))
    return counted and numbers == set(own)


def _side_of(value: str, sides: tuple[str, str], named: Sequence[tuple[str, str]]) -> int | None:
    """0 or 1, the only side that a value names; None if it names neither or both, or says more than that."""
    names = [normal(side) for side in sides]
    lasts = [normal(side.rpartition(".")[2]) for side in sides]
    for known in (names, lasts):
        if value in known and known[0] != known[1]:
            return known.index(value)
    words = set(_WORD.findall(value))
    shared = set(tokens(sides[0])) & set(tokens(sides[1]))
    found = [side for side in (0, 1) if words & {pair[side] for pair in named}]
    if len(found) != 1 or words - _AROUND - shared - {pair[found[0]] for pair in named}:
        return None
    return found[0]


def _is_tie(value: str, named: Sequence[tuple[str, str]]) -> bool:
    """Whether a value means that neither side is better; "A is better in both respects" does not."""
    words = set(_WORD.findall(value))
    one_side = len({bool(words & {pair[side] for pair in named}) for side in (0, 1)}) == 2
    return names_neither(value) and not (one_side and words & _BEST)


def _with_prompt(found: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    taken = {value for value in found.values() if isinstance(value, str)}
    free = [name for name in names if name not in taken]
    for part, known in (("prompt", _ASKED), ("system", SYSTEMS)):
        named = [name for word in known for name in free if "_".join(_last(name)) == word]
        if part == "prompt":
            named += [name for word in known[:6] for name in free if word in _last(name)]
        if named and named[0] not in found.values():
            found[part] = named[0]
    return found
