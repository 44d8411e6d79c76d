"""Human-readable numbers, times and text excerpts."""

import re
from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup

from app.store import clock


def clip(text: str, length: int = 120) -> str:
    """Text on one line, truncated to a length."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def capital(text: str) -> str:
    """A text with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 run`, `2 runs`, `1,000 votes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def in_words(parts: Sequence[str]) -> str:
    """Parts of a sentence joined as `a, b and c`."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def number(value: float | None, digits: int = 3) -> str:
    """A measured number, such as `0.693` or `1.2e-05`; a dash for a missing value."""
    if value is None or value != value:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.{digits}f}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:.1e}"


def duration(seconds: float | None) -> str:
    """A duration: `4.2 s`, `3 min 10 s`, `2 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    if total < 86_400:
        return f"{total // 3600} h {total % 3600 // 60:02d} min"
    return f"{total // 86_400} d {total % 86_400 // 3600} h"


def ago(then: datetime | None, *, now: datetime | None = None) -> Markup:
    """The age of a moment, with the exact time in the tooltip."""
    if then is None:
        return Markup("–")
    seconds = ((now or clock.present()) - then).total_seconds()
    if seconds < 10:
        words = "just now"
    elif seconds < 60:
        words = f"{int(seconds)} s ago"
    elif seconds < 3600:
        words = f"{int(seconds // 60)} min ago"
    elif seconds < 86_400:
        words = f"{int(seconds // 3600)} h ago"
    elif seconds < 30 * 86_400:
        words = f"{int(seconds // 86_400)} d ago"
    else:
        words = then.strftime("%Y-%m-%d")
    stamp = then.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(then.isoformat(), stamp, words)
