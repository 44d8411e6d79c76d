"""The distributions of scored pairs: margins under all models, and rewards under a reward model."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

from app import csv_text
from app.i18n import N_, _
from app.pair_scoring import Histogram
from app.store.models import PairScoring
from app.ui import formatting
from app.ui.charts import Figure
from app.ui.looks import colour, look_of

ANSWERS: Final = ((N_("Chosen"), "@good", ""), (N_("Rejected"), "@bad", "/"))
"""The answers of a pair, with the colour and the hatching of their bars."""


def margins(found: Histogram, models: Sequence[PairScoring]) -> list[Figure]:
    """The margins of the models in one chart."""
    if not found.edges:
        return []
    words = _("{n} pairs near {margin}", n="%{y:,}", margin="%{x:.3g}")
    data = [
        _bars(
            found.edges,
            counts,
            formatting.clip(model.run_name, 40),
            _tint(model),
            words,
            apart=len(models) > 1,
        )
        for model, counts in zip(models, found.counts, strict=True)
    ]
    note = _(
        "Left of zero the model prefers the rejected answer. The outer bars hold everything beyond them."
    )
    layout = _layout("margins", _("margin"), _("pairs"), legend=len(models) > 1)
    names = [f"{model.run_name} #{model.run_id}" if model.run_id else model.run_name for model in models]
    return [_figure("margins", _("Margins"), note, data, layout, csv=_csv(found, names))]


def rewards(found: Histogram, model: PairScoring) -> list[Figure]:
    """The rewards of the chosen and of the rejected answers under a reward model."""
    if not found.edges:
        return []
    words = _("{n} answers near {reward}", n="%{y:,}", reward="%{x:.3g}")
    data = [
        _bars(found.edges, counts, _(name), tint, words, apart=True, hatched=hatched)
        for (name, tint, hatched), counts in zip(ANSWERS, found.counts, strict=True)
    ]
    note = _("The farther apart the two are, the better {name} tells the answers apart.", name=model.run_name)
    layout = _layout(f"rewards-{model.id}", _("reward"), _("answers"), legend=True)
    csv = _csv(found, ["chosen", "rejected"])
    return [_figure(f"rewards-{model.id}", _("Rewards"), note, data, layout, csv=csv)]


def _figure(
    key: str, title: str, note: str, data: list[dict[str, Any]], layout: dict[str, Any], *, csv: str
) -> Figure:
    return {"key": key, "title": title, "note": note, "data": data, "layout": layout, "csv": csv, "file": key}


def _csv(found: Histogram, names: Sequence[str]) -> str:
    """The bars as a CSV file, in an address that holds it: the edges of a bar, and a count for each name."""
    heads = ["from", "to", *map(csv_text.escaped, names)]
    bars = zip(pairwise(found.edges), zip(*found.counts, strict=True), strict=True)
    content = csv_text.lines([heads, *((low, high, *counts) for (low, high), counts in bars)])
    return f"data:text/csv;charset=utf-8,{quote(content)}"


def _tint(model: PairScoring) -> str:
    return colour(model.method, look_of(model.run_id or 1))


def _bars(
    edges: Sequence[float],
    counts: Sequence[int],
    name: str,
    tint: str,
    words: str,
    *,
    apart: bool,
    hatched: str = "",
) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": [(low + high) / 2 for low, high in pairwise(edges)],
        "y": list(counts),
        "name": name,
        "opacity": 0.6 if apart else 0.85,
        "marker": {"color": tint, "line": {"width": 1, "color": tint}, "pattern": {"shape": hatched}},
        "hovertemplate": words,
    }


def _layout(key: str, x_title: str, y_title: str, *, legend: bool) -> dict[str, Any]:
    return {
        "uirevision": key,
        "xaxis": {"title": {"text": x_title, "standoff": 4}, "zeroline": True},
        "yaxis": {"title": {"text": y_title}, "automargin": True},
        "barmode": "overlay",
        "bargap": 0,
        "hovermode": "x",
        "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.12},
    }
