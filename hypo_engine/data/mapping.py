"""Column mappings, for files of no known layout or to read a file differently. No torch here.

A column may be given as a path into objects and lists: `data.prompt`, `annotations.result.value.selected`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypo_engine.data.columns import tokens
from hypo_engine.data.pairing import Parts
from hypo_engine.data.rows import Row, RowError, kind_of
from hypo_engine.data.verdicts import A, better_of
from hypo_engine.errors import DataError

CHOSEN_KEYS = ("prompt", "system", "chosen", "rejected")
WINNER_KEYS = ("prompt", "system", "a", "b", "winner", "a_wins", "b_wins")


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The columns of the prompt and the answers; without a prompt column, the answers' common start is it."""

    prompt: str | None
    chosen: str
    rejected: str
    system: str | None = None

    name = "mapped"
    maps = True

    def __post_init__(self) -> None:
        _check_different(self.columns)

    @property
    def columns(self) -> list[str]:
        """The columns the mapping needs."""
        return [name for name in (self.prompt, self.system, self.chosen, self.rejected) if name]

    def to_parts(self, row: Row) -> Parts:
        """Read a row through the mapping, texts and messages alike."""
        return Parts(
            prompt=value_at(row, self.prompt) if self.prompt else None,
            chosen=value_at(row, self.chosen),
            rejected=value_at(row, self.rejected),
            system=_where_there(row, self.system),
            conversational=bool(self.system),
            shared_text=not self.prompt,
        )


@dataclass(frozen=True, slots=True)
class WinnerMapping:
    """Two answers and a column that names the better one, as arenas and annotation tools write them.

    Args:
        prompt: None if the answers are conversations that begin with it.
        a_wins, b_wins: the values of the winner column that mean A, or B, is better; see
            `verdicts.better_of`. A row with any other value is skipped, as a tie if the value says so.
    """

    prompt: str | None
    a: str
    b: str
    winner: str
    a_wins: tuple[str, ...]
    b_wins: tuple[str, ...]
    system: str | None = None

    name = "winner"
    maps = True

    def __post_init__(self) -> None:
        _check_different(self.columns)
        if not self.a_wins or not self.b_wins:
            raise DataError(
                "The mapping does not say which values of the winner's column mean A and which mean B."
            )
        if set(self.a_wins) & set(self.b_wins):
            raise DataError("The mapping gives one value of the winner's column to both answers.")

    @property
    def columns(self) -> list[str]:
        """The columns the mapping needs."""
        return [name for name in (self.prompt, self.system, self.a, self.b, self.winner) if name]

    def meanings(self) -> list[tuple[str, tuple[str, ...]]]:
        """For each answer's column, the values that mean it is better."""
        return [(self.a, self.a_wins), (self.b, self.b_wins)]

    def to_parts(self, row: Row) -> Parts:
        """Read a row through the mapping.

        Raises:
            RowError: a tie, both bad, or a value that names neither answer.
        """
        first, second = value_at(row, self.a), value_at(row, self.b)
        better = better_of(value_at(row, self.winner), self.winner, self.a_wins, self.b_wins)
        words = different_words(self.a, self.b)
        return Parts(
            prompt=value_at(row, self.prompt) if self.prompt else None,
            chosen=first if better == A else second,
            rejected=second if better == A else first,
            system=_where_there(row, self.system),
            conversational=bool(self.system),
            chosen_side=words[better != A],
            rejected_side=words[better == A],
        )


AnyMapping = ColumnMapping | WinnerMapping


def read_mapping(given: Mapping[str, Any]) -> AnyMapping:
    """A mapping from the plain values of a form, command or request; empty values count as not given.

    Args:
        given: `chosen` and `rejected`, or `a`, `b`, `winner`, `a_wins` and `b_wins` (lists, or
            comma-separated texts); `prompt` and `system` with either.

    Raises:
        DataError: names are missing or do not go together.
    """
    said = {name: value for name, value in given.items() if value not in (None, "", [], ())}
    known = WINNER_KEYS if {"a", "b", "winner"} & said.keys() else CHOSEN_KEYS
    strange = ", ".join(sorted(said.keys() - set(known)))
    if strange:
        raise DataError(f"The mapping cannot have {strange} here; it takes {', '.join(known)}.")
    needed = [
        name for name in known if name not in ("prompt", "system", "a_wins", "b_wins") and name not in said
    ]
    if needed:
        raise DataError(f"The mapping does not say which column is {' and '.join(needed)}.")
    wrong = [name for name in known[:5] if not isinstance(said.get(name, ""), str)]
    if wrong:
        raise DataError(f"The mapping's {wrong[0]} must be a column's name, not {kind_of(said[wrong[0]])}.")
    prompt, system = said.get("prompt"), said.get("system")
    if known is CHOSEN_KEYS:
        return ColumnMapping(prompt, said["chosen"], said["rejected"], system)
    wins = [_values(said.get(name, ())) for name in ("a_wins", "b_wins")]
    return WinnerMapping(prompt, said["a"], said["b"], said["winner"], wins[0], wins[1], system)


def _values(given: Any) -> tuple[str, ...]:
    listed = given.split(",") if isinstance(given, str) else given
    if not isinstance(listed, list | tuple):
        listed = [listed]
    return tuple(dict.fromkeys(str(value).strip() for value in listed if str(value).strip()))


def _check_different(columns: Sequence[str]) -> None:
    if len(set(columns)) < len(columns):
        raise DataError("The mapping names one column twice; each entry needs a column of its own.")


def value_at(row: Row, path: str, whole: str = "") -> Any:
    """The value of a column, or at a path into its objects; a list on the path gives a list of values.

    Raises:
        RowError: the row has no such column.
    """
    if path in row:
        return row[path]
    column, dot, rest = path.partition(".")
    while dot and column not in row:
        name, dot, rest = rest.partition(".")
        column = f"{column}.{name}"
    if column not in row or not rest:
        raise RowError(f"column {(whole or path)!r} missing")
    if isinstance(row.peek(column), dict):
        return value_at(row.inside(column), rest, whole or path)
    return _within(row.take(column), rest.split("."))


def _where_there(row: Row, path: str | None) -> Any:
    """The value at a path; None if the row lacks it."""
    there = path and (path in row or path.partition(".")[0] in row)
    return value_at(row, path) if path and there else None


def _within(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        found = [_within(inner, names) for inner in value]
        return [inner for inner in found if inner is not None]
    if not names:
        return value
    return _within(value.get(names[0]), names[1:]) if isinstance(value, dict) else None


def different_words(a: str, b: str) -> tuple[str, str]:
    """The words that distinguish two columns: `a` and `b` of response_a and response_b; "" if several do."""
    one, other = tokens(a), tokens(b)
    different = [(x, y) for x, y in zip(one, other, strict=False) if x != y]
    return different[0] if len(one) == len(other) and len(different) == 1 else ("", "")


LMARENA = WinnerMapping(None, "conversation_a", "conversation_b", "winner", ("model_a",), ("model_b",))
"""The columns of the data that Chatbot Arena and LMArena publish."""
