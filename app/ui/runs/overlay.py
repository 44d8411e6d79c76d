"""The overlay of several runs: their curves and configurations."""

from collections.abc import Sequence
from typing import Any, Final, cast

import gradio as gr
from markupsafe import Markup

from app.i18n import _
from app.run_yaml import DEFAULTS
from app.store import metrics
from app.store.db import read_session
from app.store.metrics import Series as Points
from app.store.models import Run
from app.ui import formatting, query, training, widgets
from app.ui.runs import chosen, frontier
from app.ui.runs.frontier import KlAxis, Tint
from app.ui.training import XAxis
from app.ui.updates import Updates
from app.ui.widgets import Html
from hypo_engine.config import TrainConfig

MAX_OVERLAID: Final = 8
"""The largest number of runs whose curves share a chart."""
Seen = tuple[Any, ...]


def draw(x_axis: str, only_differences: bool, kl_axis: str, tint: str, request: gr.Request) -> Updates:
    """Show the curves, configurations and frontier of the runs in the page's address."""
    return redraw(x_axis, only_differences, kl_axis, tint, (), request)


def redraw(
    x_axis: str, only_differences: bool, kl_axis: str, tint: str, drawn: Seen, request: gr.Request
) -> Updates:
    """Update the overlay if there are new points since `drawn`."""
    ids = query.ids(request, "compare")
    if not ids:
        return {"overlaid": gr.update(visible=False), "drawn": ()}
    with read_session() as session:
        picked = chosen.read(ids, session=session)
        now: Seen = (ids, metrics.revision(ids, session=session))
        if now == drawn:
            return {}
        few = picked[:MAX_OVERLAID]
        points = training.load_points([run.id for run in few], session=session)
        evaluated = frontier.load([run.id for run in picked], session=session)
    return {
        "overlaid": gr.update(visible=bool(picked)),
        "key": training.legend(picked),
        "few": _first_of(picked),
        "panel": training.figures(few, points, x_axis=cast(XAxis, x_axis)),
        "config": config_table(few, only_differences=only_differences),
        "frontier": frontier.figures(picked, evaluated, x_axis=cast(KlAxis, kl_axis), tint=cast(Tint, tint)),
        "evaluated": frontier_note(picked, evaluated),
        "drawn": now,
    }


def _first_of(picked: Sequence[Run]) -> Html:
    """Says that only the first runs are drawn, if there are more."""
    if len(picked) <= MAX_OVERLAID:
        return widgets.NOTHING
    said = _("Of {all} runs the first {few} are drawn; Frontier has all.", all=len(picked), few=MAX_OVERLAID)
    return widgets.notice(said)


def frontier_note(picked: Sequence[Run], evaluated: Points) -> Html:
    """The table below the frontier, or why there is none yet."""
    missing = frontier.nothing(picked, evaluated)
    return widgets.notice(missing) if missing else frontier.table(picked, evaluated)


def config_table(picked: Sequence[Run], *, only_differences: bool) -> Html:
    """The runs' configurations side by side."""
    rows = []
    for field, schema in TrainConfig.model_fields.items():
        values = [run.config.get(field, DEFAULTS[field]) for run in picked]  # older runs lack newer fields
        differ = len({str(value) for value in values}) > 1
        if differ or not only_differences:
            label = _(schema.title or field)
            rows.append([label, *(Markup("<b>{}</b>").format(v) if differ else v for v in values)])
    versions = [f"{run.dataset.name} v{run.dataset.version}" for run in picked]
    if len(set(versions)) > 1 or not only_differences:
        rows.insert(0, [_("Dataset"), *versions])
    if not rows:
        return widgets.notice(_("The runs have the same settings."))
    heads = [
        Markup("{}<br>{}").format(widgets.run_badge(run), formatting.clip(run.name, 40)) for run in picked
    ]
    return widgets.table([_("Setting"), *heads], rows, caption=_("Configurations"), stack=False)
