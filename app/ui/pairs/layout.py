"""The components of the page of pairs under models, by section."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from app.i18n import _
from app.store.enums import Split
from app.ui import charts, confirmation, widgets
from app.ui.confirmation import Confirmation

_TICK = Path(__file__).with_name("pairs.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Models:
    """The models that score the pairs, and the form that adds one."""

    models: gr.HTML
    run: gr.Dropdown
    act: gr.Button
    said: gr.HTML


@dataclass(frozen=True, slots=True)
class Listing:
    """The scored pairs; `chosen` holds the positions of the ticked ones."""

    listing: gr.Column
    first: gr.Dropdown
    second: gr.Dropdown
    meaning: gr.HTML
    chart: gr.HTML
    orders: gr.HTML
    split: gr.Dropdown
    search: gr.Textbox
    whole: gr.HTML
    table: gr.HTML
    pages: gr.HTML
    chosen: gr.Textbox


@dataclass(frozen=True, slots=True)
class Leaving:
    """Buttons that make a new version; `told` is the number that the question named."""

    ticked: gr.Button
    all: gr.Button
    confirmation: Confirmation
    told: gr.State
    message: gr.HTML


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections; `seen` is the state of the scorings that the page shows."""

    header: gr.HTML
    body: gr.Column
    models: Models
    listing: Listing
    leaving: Leaving
    seen: gr.State


def lay_out() -> Layout:
    """Lay out the whole page."""
    header = gr.HTML(widgets.loading())
    with gr.Column(visible=False, elem_classes="hy-page") as body:
        models = _models()
        with gr.Column(visible=False, elem_classes="hy-page") as listing:
            parts = _listing(listing)
            leaving = _leaving()
    return Layout(header, body, models, parts, leaving, gr.State(()))


def _models() -> Models:
    models = gr.HTML()
    with gr.Row(elem_classes="hy-filters"):
        run = gr.Dropdown([], label=_("Run"), scale=0, min_width=320, interactive=True, elem_id="pairs-run")
        act = gr.Button(_("Score the pairs"), size="md", scale=0, min_width=160, interactive=False)
    return Models(models, run, act, gr.HTML())


def _listing(column: gr.Column) -> Listing:
    sides = [
        (_("all"), ""),
        (_("training"), Split.TRAIN.value),
        (_("held out"), Split.HELD_OUT.value),
        (_("voted on"), Split.VOTED.value),
    ]
    with gr.Row(elem_classes="hy-filters"):
        first = gr.Dropdown([], label=_("Model"), scale=0, min_width=280, interactive=True)
        second = gr.Dropdown([], label=_("Second model"), scale=0, min_width=280, interactive=True)
    meaning, chart, orders = gr.HTML(), charts.panel(elem_id="margins"), gr.HTML()
    with gr.Row(elem_classes="hy-filters"):
        split = gr.Dropdown(sides, value="", label=_("Side"), scale=0)
        search = gr.Textbox(
            label=_("Search"),
            placeholder=_("words in prompt or answers"),
            info=_("Press Enter."),
            max_lines=1,
            max_length=500,
            scale=1,
        )
    return Listing(
        column,
        first,
        second,
        meaning,
        chart,
        orders,
        split,
        search,
        gr.HTML(),
        gr.HTML(js_on_load=_TICK, elem_id="pairs-table"),
        gr.HTML(),
        gr.Textbox(visible="hidden", elem_id="pairs-chosen"),
    )


def _leaving() -> Leaving:
    with gr.Row(elem_classes="hy-buttons"):
        ticked = gr.Button(_("Leave out the ticked"), size="md", scale=0, min_width=200, interactive=False)
        everything = gr.Button(_("Leave out all of these"), size="md", scale=0, min_width=200)
    return Leaving(
        ticked, everything, confirmation.lay_out(_("No")), gr.State(0), gr.HTML(elem_id="pairs-left")
    )
