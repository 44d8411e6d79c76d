"""A first guess at a mapping, from columns' names and a few rows, for people to check. No torch here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypo_engine.data.columns import QUESTIONS, SYSTEMS, tokens
from hypo_engine.data.mapping import different_words, value_at
from hypo_engine.data.rows import Row, RowError, is_empty, is_message
from hypo_engine.data.verdicts import opinions

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
    """A mapping as `mapping.read_mapping` takes it; parts that nothing speaks for are missing."""
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
        wins = wins_of(values_of(winner, rows), sides)
        found |= {"winner": winner, "a_wins": wins[0], "b_wins": wins[1]}
    return _with_prompt(found, texts)


def values_of(column: str, rows: Sequence[object]) -> list[str]:
    """The different words that a winner's column holds in these rows, the first ones."""
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
    """Whether any of the rows has a column of this name, or something at this path."""
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
    """Two columns that differ in a word which says that they belong together; answers by name come first."""
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


def wins_of(values: Sequence[str], sides: tuple[str, str]) -> tuple[list[str], list[str]]:
    """The values that name a side: by the word that tells the columns apart, or as left and right do.

    Numbers name a side where they are the columns' own, or count them from 1; what 0 and 1, or numbers below
    zero, say of columns a and b cannot be known.
    """
    if any(value.startswith("-") for value in values):
        return [], []
    pairs = [("left", "right"), ("first", "second"), ("a", "b")]
    if different_words(*sides)[0]:
        pairs.append(different_words(*sides))
    if {"1", "2"} <= set(values) and not {"0", "3"} & set(values):
        pairs.append(("1", "2"))
    named = ({first for first, _ in pairs}, {second for _, second in pairs})
    wins: tuple[list[str], list[str]] = ([], [])
    for value in values:
        in_a, in_b = (bool(words & set(tokens(value))) for words in named)
        if in_a != in_b:
            wins[in_b].append(value)
    for first, second in pairs:
        for one, other, side in ((first, second, 0), (second, first, 1)):
            if wins[side] == [one] and not wins[1 - side]:
                wins[1 - side].append(other)
    return wins


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
