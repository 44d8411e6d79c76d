"""Human-readable numbers, times and text excerpts."""

import re
from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup

from app.i18n import _, _n
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
    return _n(f"{{n}} {noun}", f"{{n}} {plural or noun + 's'}", number)


def in_words(parts: Sequence[str]) -> str:
    """Parts of a sentence joined as `a, b and c`."""
    *others, last = parts
    return _("{others} and {last}", others=", ".join(others), last=last) if others else last


def number(value: float | None, digits: int = 3) -> str:
    """A measured number, such as `0.693` or `1.2e-05`; a dash for a missing value."""
    if value is None or value != value:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.{digits}f}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:.1e}"


def cost(value: float) -> str:
    """An amount in the unit of the endpoints' prices."""
    return "< 0.0001" if 0 < value < 0.00005 else f"{value:,.4f}"


def duration(seconds: float | None) -> str:
    """A duration: `4.2 s`, `3 min 10 s`, `2 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return _("{n} s", n=f"{max(seconds, 0):.1f}")
    total = round(seconds)
    if total < 60:
        return _("{n} s", n=total)
    if total < 3600:
        return _("{minutes} min {seconds} s", minutes=total // 60, seconds=f"{total % 60:02d}")
    if total < 86_400:
        return _("{hours} h {minutes} min", hours=total // 3600, minutes=f"{total % 3600 // 60:02d}")
    return _("{days} d {hours} h", days=total // 86_400, hours=total % 86_400 // 3600)


def ago(then: datetime | None, *, now: datetime | None = None) -> Markup:
    """The age of a moment, with the exact time in the tooltip."""
    if then is None:
        return Markup("–")
    seconds = ((now or clock.present()) - then).total_seconds()
    if seconds < 10:
        words = _("just now")
    elif seconds < 60:
        words = _("{n} s ago", n=int(seconds))
    elif seconds < 3600:
        words = _("{n} min ago", n=int(seconds // 60))
    elif seconds < 86_400:
        words = _("{n} h ago", n=int(seconds // 3600))
    elif seconds < 30 * 86_400:
        words = _("{n} d ago", n=int(seconds // 86_400))
    else:
        words = then.strftime("%Y-%m-%d")
    stamp = then.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(then.isoformat(), stamp, words)
