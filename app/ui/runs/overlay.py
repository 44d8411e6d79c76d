"""The overlay of several runs: their curves and configurations."""

from collections.abc import Sequence
from typing import Any, cast

import gradio as gr
from markupsafe import Markup

from app.i18n import _
from app.store import metrics
from app.store.db import read_session
from app.store.models import Run
from app.ui import formatting, query, training, widgets
from app.ui.runs import chosen
from app.ui.training import XAxis
from app.ui.updates import Updates
from app.ui.widgets import Html
from hypo_engine.config import TrainConfig

MAX_OVERLAID = 8
Seen = tuple[Any, ...]


def draw(x_axis: str, only_differences: bool, request: gr.Request) -> Updates:
    """Show the curves and configurations of the runs in the page's address."""
    return redraw(x_axis, only_differences, (), request)


def redraw(x_axis: str, only_differences: bool, drawn: Seen, request: gr.Request) -> Updates:
    """Update the overlay if there are new points since `drawn`."""
    ids = query.ids(request, "compare")[:MAX_OVERLAID]
    if not ids:
        return {"overlaid": gr.update(visible=False), "drawn": ()}
    with read_session() as session:
        picked = chosen.read(ids, session=session)
        now: Seen = (ids, metrics.revision(ids, session=session))
        if now == drawn:
            return {}
        points = training.load_points([run.id for run in picked], session=session)
    return {
        "overlaid": gr.update(visible=bool(picked)),
        "key": training.legend(picked),
        "panel": training.figures(picked, points, x_axis=cast(XAxis, x_axis)),
        "config": config_table(picked, only_differences=only_differences),
        "drawn": now,
    }


def config_table(picked: Sequence[Run], *, only_differences: bool) -> Html:
    """The runs' configurations side by side."""
    rows = []
    for field, schema in TrainConfig.model_fields.items():
        values = [run.config.get(field) for run in picked]
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
