"""Charts: plotly figures as plain data, updated in place so that a zoom survives new points.

`gr.Plot` makes a new plot for every value, which flickers and loses the zoom. A panel is a `gr.HTML` whose
script passes each figure to `Plotly.react`. Colours are names (`@hypo`) that the script resolves from the
style sheet, so switching between light and dark mode needs no new data.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gradio as gr

from app.i18n import _
from app.templates import render
from app.ui import plotly_js
from app.ui.looks import LOOKS, colour, dash_of, look_of, stroke_of, symbol_of
from app.ui.widgets import Html

MAX_POINTS: Final = 600
SMOOTH_FROM: Final = 20

Point = tuple[float, float]
Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        label: name shown on hover.
        points: (x, y) pairs, sorted by x.
        errors: half-lengths of the error bars, one per point.
        held_out: measured on held-out data; drawn with markers.
        look: index of the run's look among those of its method, as `look_of` has it.
        run: number of the run; its curves are switched off together.
        smooth: smoothed in the browser, as its reader chooses.
    """

    label: str
    method: str
    points: Sequence[Point]
    errors: Sequence[float] | None = None
    held_out: bool = False
    look: int = 0
    run: int = 0
    smooth: bool = False


def figure(
    key: str,
    title: str,
    series: Iterable[Series],
    *,
    note: str = "",
    x_title: str = "step",
    y_title: str = "",
    x_end: float | None = None,
    y_range: tuple[float, float] | None = None,
    zero: bool = False,
    percent: bool = False,
    unit: str = "",
    csv: str = "",
    file: str = "",
) -> Figure:
    """One chart; without points it shows a message instead of empty axes.

    Args:
        x_end: end of the x axis, shared by charts shown side by side.
        key: identifies the chart; a chart with the same key is updated in place.
        zero: draw the zero line, for signed values.
        unit: shown after the values under the pointer.
        csv: address of the chart's values.
        file: name of the files that the chart is downloaded as, without an ending.
    """
    data = [trace for one in series if one.points for trace in _traces(one)]
    layout: dict[str, Any] = {
        "uirevision": key,
        "xaxis": {"title": {"text": x_title, "standoff": 4}, "zeroline": False, "rangemode": "tozero"},
        "yaxis": {"title": {"text": y_title}, "zeroline": zero, "automargin": True},
        "hovermode": "x unified",
        "showlegend": False,
    }
    if x_end is not None:
        layout["xaxis"]["range"] = [-0.02 * x_end, 1.04 * x_end]
    if y_range:
        layout["yaxis"]["range"] = list(y_range)
    if percent:
        layout["yaxis"]["tickformat"] = ".0%"
    own = {"unit": "" if percent else unit, "percent": percent, "csv": csv, "file": file or key}
    return {"key": key, "title": title, "note": note, "data": data, "layout": layout, **own}


def _traces(one: Series) -> list[dict[str, Any]]:
    tint, dash, symbol = (kind(one.method, one.look) for kind in (colour, dash_of, symbol_of))
    points = thin(one.points, MAX_POINTS)
    x = [p[0] for p in points]
    y = [p[1] if math.isfinite(p[1]) else None for p in points]
    base: dict[str, Any] = {"type": "scatter", "x": x, "y": y, "name": one.label}
    if one.held_out:
        marker = {"symbol": f"{symbol}-open", "size": 7, "color": tint, "line": {"width": 2}}
        trace = {**base, "mode": "lines+markers", "marker": marker, "meta": {"run": one.run}}
        trace["line"] = {"color": tint, "width": 1.2, "dash": dash}
        if one.errors is not None and len(one.errors) == len(points):
            bars = [e if math.isfinite(e) else 0 for e in one.errors]
            trace["error_y"] = {"type": "data", "array": bars, "color": tint, "thickness": 1.2, "width": 3}
        return [trace]
    line = {"color": tint, "width": 2, "dash": dash}
    marker = {"symbol": symbol, "size": 6, "color": tint}
    mode = "lines+markers" if len(points) < 12 else "lines"
    smooth = one.smooth and len(points) >= SMOOTH_FROM
    return [
        {**base, "mode": mode, "line": line, "marker": marker, "meta": {"run": one.run, "smooth": smooth}}
    ]


def smoothed(values: Sequence[float | None], weight: float = 0.85) -> list[float | None]:
    """Exponential moving average, corrected for its bias towards zero at the start, as charts.js has it."""
    result: list[float | None] = []
    mean = mass = 0.0
    for value in values:
        if value is None:
            result.append(None)
            continue
        mean = weight * mean + (1 - weight) * value
        mass = weight * mass + (1 - weight)
        result.append(mean / mass)
    return result


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """At most about `most` evenly spaced points, including the first and the last."""
    if len(points) <= most:
        return list(points)
    stride = math.ceil(len(points) / most)
    kept = list(points[::stride])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def legend(entries: Iterable[tuple[str, str, int]], *, held_out: bool = True, switches: bool = True) -> Html:
    """One legend for all charts of a panel; entries are (label, method, run).

    Args:
        switches: each entry hides and shows its run's curves.
    """
    lines = [
        {
            "label": label,
            "run": run,
            "colour": colour(method, look_of(run))[1:],
            "dashes": stroke_of(method, look_of(run)),
        }
        for label, method, run in entries
    ]
    looks = [(line["colour"], line["dashes"]) for line in lines]
    alike = len(set(looks)) < len(looks)
    return render(
        "widgets/legend.html", lines=lines, held_out=held_out, alike=alike, looks=LOOKS, switches=switches
    )


def panel(value: Sequence[Figure] = (), *, elem_id: str | None = None) -> gr.HTML:
    """A grid of charts; its value is a list of figures."""
    return gr.HTML(
        list(value),
        html_template=str(render("widgets/charts.html", plotly=plotly_js.address())),
        js_on_load=_DRAW,
        elem_id=elem_id,
        apply_default_css=False,
    )


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


PICTURES: Final = _script("pictures.js")
"""Downloads the figures of buttons in a `gr.HTML`; see its js_on_load."""

_DRAW: Final = PICTURES + _script("charts.js")


def axis_choice() -> gr.Radio:
    """The choice of the x axis: optimiser steps or seconds."""
    return choice([(_("by step"), "steps"), (_("by seconds"), "seconds")])


def choice(choices: Sequence[tuple[str, str]]) -> gr.Radio:
    """A row of ways to draw charts, of which the first is chosen."""
    return gr.Radio(
        list(choices),
        value=choices[0][1],
        show_label=False,
        container=False,
        scale=0,
        min_width=220,
        elem_classes="hy-compact",
    )
