"""Configuration fields in words: their bounds, and what is wrong with a value. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

import annotated_types
from pydantic.fields import FieldInfo


def label(name: str, field: FieldInfo) -> str:
    """A field's title, with its name in YAML and on the command line where that differs."""
    title = field.title or name
    return title if title.lower() == name else f"{title} ({name})"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a number as texts, empty where it has none, and whether they are excluded."""

    low: str = ""
    above: bool = False
    high: str = ""
    below: bool = False


def limits(field: FieldInfo) -> Limits:
    """The bounds of a number."""
    found = Limits()
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            found = replace(found, low=_number(rule.ge))
        elif isinstance(rule, annotated_types.Gt):
            found = replace(found, low=_number(rule.gt), above=True)
        elif isinstance(rule, annotated_types.Le):
            found = replace(found, high=_number(rule.le))
        elif isinstance(rule, annotated_types.Lt):
            found = replace(found, high=_number(rule.lt), below=True)
    return found


def bounds(field: FieldInfo) -> str:
    """The bounds of a number in words: `0 to 10`, `above 0, at most 1`; empty if there are none."""
    found = limits(field)
    low = f"above {found.low}" if found.above else found.low
    high = f"below {found.high}" if found.below else found.high
    if not low or not high:
        return low or high
    if found.below:
        return f"{low} and {high}" if found.above else f"from {low} to {high}"
    return f"{low}, at most {high}" if found.above else f"{low} to {high}"


def _number(value: Any) -> str:
    return f"{value:,.15g}" if isinstance(value, int | float) else str(value)


def complaint(field: FieldInfo, error: Mapping[str, Any]) -> str:
    """What is wrong with a value, to follow the field's name: `must be a number from 0 to 10, not 11`.

    Args:
        error: one of pydantic's, with ``type``, ``msg`` and ``input``.
    """
    given, wanted = error.get("input"), _wanted(field)
    if error["type"] not in _KNOWN:
        return str(error["msg"])
    if given is None or (isinstance(given, str) and not given.strip()):
        return f"is empty; it must be {wanted}"
    return f"must be {wanted}, not {str(given)[:80]}"


_KNOWN: Final = frozenset(
    {
        *("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"),
        *("float_parsing", "float_type", "int_parsing", "int_type", "int_from_float", "int_parsing_size"),
        *("enum", "string_type", "string_too_short", "string_too_long", "bool_parsing", "bool_type"),
    }
)
"""Pydantic errors that are explained by the field's type and bounds; all others have their own sentence."""


def _wanted(field: FieldInfo) -> str:
    """The values that a field takes: `a whole number from 1 to 4,096`."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of([str(member.value) for member in kind])
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        words = _range(field)
        return f"a whole number {words}".rstrip() if kind is int else f"a number {words}".rstrip()
    longest = [rule.max_length for rule in field.metadata if isinstance(rule, annotated_types.MaxLen)]
    return f"text of 1 to {longest[0]:,} characters" if longest else "a text"


def _range(field: FieldInfo) -> str:
    """The bounds of a number, to follow a noun: `from 0 to 10`, `above 0 and at most 1`."""
    found = limits(field)
    if not found.low or not found.high:
        return bounds(field)
    if found.above:
        below = f"above {found.low} and below {found.high}"
        return below if found.below else f"above {found.low} and at most {found.high}"
    return f"from {found.low} to below {found.high}" if found.below else f"from {found.low} to {found.high}"


def _one_of(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"
