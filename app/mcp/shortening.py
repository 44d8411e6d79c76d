"""Results of tools, short enough for a model's context."""

import json
from collections.abc import Container
from typing import Any, Final

MOST_TEXT: Final = 1500
"""Characters of one text in a result."""
MOST_POINTS: Final = 100
"""Numbers of one series in a result."""
MOST_RESULT: Final = 60_000
"""Characters of a whole result."""


def shortened(answer: Any, *, without: Container[str] = ()) -> Any:
    """Copy an answer with long texts cut and long series of numbers thinned.

    Args:
        without: fields that are left out of the items of a list.
    """
    if isinstance(answer, dict) and isinstance(answer.get("items"), list):
        items = [_without(item, without) for item in answer["items"]]
        return {**{key: _short(value) for key, value in answer.items()}, "items": _short(items)}
    return _short(answer)


def as_text(answer: Any) -> str:
    """A result as JSON."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def _without(item: Any, names: Container[str]) -> Any:
    return {k: v for k, v in item.items() if k not in names} if isinstance(item, dict) else item


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MOST_TEXT:
        return f"{value[:MOST_TEXT]} [{len(value) - MOST_TEXT:,} more characters]"
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return thinned(value) if _is_series(value) else [_short(inner) for inner in value]
    return value


def _is_series(values: list[Any]) -> bool:
    return len(values) > MOST_POINTS and all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
    )


def thinned(values: list[Any]) -> list[Any]:
    """MOST_POINTS evenly spaced values, the first and the last included.

    Lists of equal length keep the same places, so steps and values still belong together.
    """
    last = len(values) - 1
    return [values[round(at * last / (MOST_POINTS - 1))] for at in range(MOST_POINTS)]
