"""The figures of `charts` as static SVG, for a file that has neither scripts nor a network.

A figure is the same plain data that the pages give to Plotly, so a chart in a file shows what the page shows.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.templates import render
from app.ui.charts import Figure, smoothed
from app.ui.looks import STROKES
from app.ui.widgets import Html

WIDTH, HEIGHT = 400, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 34
"""Margins around the plot, with room for the labels of the axes."""
TICKS: Final = 5
BAR: Final = 26
"""Height of a bar."""


def charts(figures: Iterable[Figure]) -> Html:
    """A grid of charts; a figure without points is left out."""
    drawn = [_bars(one) if _has_bars(one) else _lines(one) for one in figures if one["data"]]
    return render("report/charts.html", charts=drawn)


def _has_bars(figure: Figure) -> bool:
    return bool(figure["data"][0]["type"] == "bar")


def colour(value: object) -> str:
    """A colour of a figure in CSS: names such as `@hypo` are variables of the style sheet."""
    text = str(value)
    return f"var(--hy-{text[1:]})" if text.startswith("@") else text


# --- axes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the scale."""
        step = round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below a length."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _range(
    values: Sequence[float], given: Sequence[float] | None, *, zero: bool = False
) -> tuple[float, float]:
    """The range of an axis: as given, or that of the values with a margin."""
    if given:
        return float(given[0]), float(given[1])
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - margin, high + margin


def _label(percent: bool) -> Callable[[float], str]:
    def text(value: float) -> str:
        said = f"{100 * value:.0f}%" if percent else f"{value:.4g}"
        return said.replace("-", "\N{MINUS SIGN}")

    return text


def _axes(x: Scale, y: Scale, layout: Mapping[str, Any]) -> dict[str, Any]:
    say_x, say_y = _label(percent=False), _label(percent="%" in layout["yaxis"].get("tickformat", ""))
    return {
        "xs": [{"at": x(value), "text": say_x(value)} for value in x.ticks()],
        "ys": [{"at": y(value), "text": say_y(value)} for value in y.ticks()],
        "zero": y(0.0) if layout["yaxis"].get("zeroline") and y.low <= 0 <= y.high else None,
        "x_title": layout["xaxis"].get("title", {}).get("text", ""),
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": TOP,
        "bottom": HEIGHT - BOTTOM,
    }


# --- lines -----------------------------------------------------------------------------------


def _lines(figure: Figure) -> dict[str, Any]:
    data = [still for trace in figure["data"] for still in _still(trace)]
    layout, traces = figure["layout"], [_finite(trace) for trace in data]
    xs = [end for trace in data for end in _x_ends(trace)]
    ends = [end for trace in traces for _, y, error in trace for end in (y - error, y + error)]
    x_range = _range(xs or [0.0], layout["xaxis"].get("range"))
    y_range = _range(ends or [0.0], layout["yaxis"].get("range"), zero=bool(layout["yaxis"].get("zeroline")))
    x, y = Scale(*x_range, LEFT, WIDTH - RIGHT), Scale(*y_range, HEIGHT - BOTTOM, TOP)
    drawn = [_trace(trace, points, x, y) for trace, points in zip(data, traces, strict=True) if points]
    return {**_card(figure, HEIGHT), "axes": _axes(x, y, layout), "traces": drawn, "bars": []}


def _card(figure: Figure, height: float) -> dict[str, Any]:
    return {"title": figure["title"], "note": figure["note"], "width": WIDTH, "height": height}


Point = tuple[float, float, float]
"""x, y and half the length of the error bar."""


def _finite(trace: Mapping[str, Any]) -> list[Point]:
    """The points of a trace that can be drawn."""
    ys = trace["y"]
    errors = trace.get("error_y", {}).get("array") or [0.0] * len(ys)
    return [(x, y, error) for x, y, error in zip(trace["x"], ys, errors, strict=True) if y is not None]


def _x_errors(trace: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """x, y and half the length of each horizontal error bar."""
    errors = trace.get("error_x", {}).get("array") or []
    points = zip(trace["x"], trace["y"], errors, strict=False)
    return [(x, y, error) for x, y, error in points if y is not None and error]


def _x_ends(trace: Mapping[str, Any]) -> list[float]:
    """The values that an x axis has to show."""
    return [x for x, _, _ in _finite(trace)] + [
        end for x, _, error in _x_errors(trace) for end in (x - error, x + error)
    ]


def _still(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A trace as the page draws it first: a smoothed curve over a faint copy of what was measured."""
    if not trace.get("meta", {}).get("smooth"):
        return [dict(trace)]
    faint = {**trace, "mode": "lines", "opacity": 0.28, "line": {**trace["line"], "width": 1}}
    return [faint, {**trace, "mode": "lines", "y": smoothed(trace["y"])}]


def _trace(trace: Mapping[str, Any], points: Sequence[Point], x: Scale, y: Scale) -> dict[str, Any]:
    line, mode = trace.get("line", {}), str(trace.get("mode", "lines"))
    marker = trace.get("marker", {})
    return {
        "name": trace.get("name", ""),
        "path": " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b, _ in points) if "lines" in mode else "",
        "colour": colour(line.get("color", "@reference")),
        "width": line.get("width", 2),
        "dashes": STROKES.get(str(line.get("dash", "solid")), ""),
        "opacity": trace.get("opacity", 1),
        "open": str(marker.get("symbol", "")).endswith("-open"),
        "square": str(marker.get("symbol", "")).startswith("square"),
        "dots": [(x(a), y(b)) for a, b, _ in points] if "markers" in mode else [],
        "errors": [(x(a), y(b - error), y(b + error)) for a, b, error in points if error],
        "wide_errors": [(y(b), x(a - error), x(a + error)) for a, b, error in _x_errors(trace)],
    }


# --- bars ------------------------------------------------------------------------------------


def _bars(figure: Figure) -> dict[str, Any]:
    """Horizontal bars, the parts of each one after the other."""
    parts = figure["data"]
    labels = list(parts[0]["y"])
    whole = max(sum(part["x"][at] for part in parts) for at in range(len(labels))) or 1.0
    height = TOP + BAR * len(labels) + BOTTOM
    x = Scale(0.0, 1.05 * whole, LEFT + 40, WIDTH - RIGHT)
    y = Scale(0.0, 1.0, height - BOTTOM, TOP)
    axes = {**_axes(x, y, figure["layout"]), "ys": [], "bottom": height - BOTTOM, "left": LEFT + 40}
    rows = [
        {"label": label, "y": TOP + BAR * place, "parts": _parts(parts, labels.index(label), x)}
        for place, label in enumerate(reversed(labels))
    ]
    return {**_card(figure, height), "axes": axes, "traces": [], "bars": rows}


def _parts(parts: Sequence[Mapping[str, Any]], at: int, x: Scale) -> list[dict[str, Any]]:
    found, before = [], 0.0
    for part in parts:
        length, tints = part["x"][at], part["marker"]["color"]
        tint = tints if isinstance(tints, str) else tints[at]
        found.append(
            {
                "x": x(before),
                "width": x(before + length) - x(before),
                "colour": colour(tint),
                "opacity": 0.45 if "pattern" in part["marker"] else 1,
                "title": f"{part['name']}: {length:.2f} s",
            }
        )
        before += length
    return found
