"""The look of a run on every page: a shade of its method's colour, a dash and a marker."""

from collections.abc import Sequence
from typing import Final

from app.ui.theme import ROLES, role

LOOKS: Final = 7
"""Looks of one method's runs. A prime, so that runs launched in turn with other methods still differ."""

_DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "12px,3px,3px,3px,3px,3px")
_SYMBOLS: Final = (
    *("circle", "square", "diamond", "triangle-up", "hexagon", "cross", "star", "x"),
    *("pentagon", "triangle-down"),
)


_PALE: Final = 1
"""The shade of every method on which a white letter cannot be read."""

_STRIDE: Final = 3
"""Between the dashes, and markers, of neighbouring looks: twins of two methods have different ones."""


def look_of(run_id: int) -> int:
    """The look of a run among those of its method: a function of its number alone, the same on every page.

    Each look has a dash and a marker of its own; shades of the method's colour repeat among the looks. Runs
    of one method whose numbers differ by a multiple of LOOKS look alike.
    """
    return (run_id - 1) % LOOKS


def colour(method: str, look: int = 0) -> str:
    """The name of a run's colour, which the page's script resolves: a shade of its method's colour."""
    shade = look % len(role(method).light)
    known = method if method in ROLES else "reference"
    return f"@{known}-{shade}" if shade else f"@{known}"


def style_of(method: str, run_id: int | None) -> str:
    """The CSS of an element that has a run's colour; empty for the method's own."""
    if run_id is None:
        return ""
    look = look_of(run_id)
    ink = ";--hy-run-ink:#131514" if look % len(role(method).light) == _PALE else ""
    return f"--hy-run:var(--hy-{colour(method, look)[1:]}){ink}"


def dash_of(method: str, look: int = 0) -> str:
    """The dash of a run's curves; the first look has the method's own."""
    return _turned(_DASHES, role(method).dashes[0], look)


def symbol_of(method: str, look: int = 0) -> str:
    """The marker of a run's points; the first look has the method's own."""
    return _turned(_SYMBOLS, role(method).symbol, look)


def _turned(values: Sequence[str], first: str, look: int) -> str:
    return values[(values.index(first) + _STRIDE * look) % len(values)]


def stroke_of(method: str, look: int = 0) -> str:
    """The dash of a run's curves for an SVG line."""
    return STROKES[dash_of(method, look)]


STROKES: Final = {
    "solid": "",
    "dash": "7 5",
    "dot": "2 4",
    "dashdot": "7 4 2 4",
    "longdash": "11 5",
    "longdashdot": "11 4 2 4",
    "12px,3px,3px,3px,3px,3px": "12 3 3 3 3 3",
}
"""The dashes of a line as SVG writes them, by Plotly's names."""
