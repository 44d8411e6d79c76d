"""The components of the runs page, by section."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from app import run_columns
from app.i18n import N_, _
from app.store.enums import RunStatus, Shelf
from app.ui import charts, confirmation, paging, widgets
from app.ui.confirmation import Confirmation
from app.ui.paging import Pager
from hypo_engine.config import Method

ALL = ""
"""The value of an inactive filter."""

_TICK = Path(__file__).with_name("runs.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of the list."""

    name: gr.Textbox
    method: gr.Dropdown
    status: gr.Dropdown
    dataset: gr.Dropdown
    tag: gr.Dropdown
    show: gr.Dropdown
    columns: gr.Dropdown
    sort: gr.Textbox

    @property
    def inputs(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]

    @property
    def edited(self) -> list[Any]:
        """The events that fire when the user edits a filter, the columns or the order."""
        return [field.input for field in self.inputs]


@dataclass(frozen=True, slots=True)
class Buttons:
    """The actions on the selected runs."""

    overlay: gr.Button
    cancel: gr.Button
    delete: gr.Button
    clone: gr.Button
    report: gr.Button
    archive: gr.Button
    unarchive: gr.Button


@dataclass(frozen=True, slots=True)
class Tagging:
    """Tags added to the selected runs, or removed from them."""

    tagging: gr.Row
    words: gr.Textbox
    add: gr.Button
    remove: gr.Button


@dataclass(frozen=True, slots=True)
class Overlay:
    """The overlaid curves of the selected runs; `drawn` is the state that the open page shows."""

    overlaid: gr.Column
    key: gr.HTML
    x_axis: gr.Radio
    few: gr.HTML
    panel: gr.HTML
    only: gr.Checkbox
    config: gr.HTML
    kl_axis: gr.Radio
    tint: gr.Radio
    frontier: gr.HTML
    evaluated: gr.HTML
    drawn: gr.State
    tabs: gr.Tabs
    of: dict[str, gr.Tab]

    @property
    def how(self) -> list[Any]:
        """The choices of how to draw: what `draw` reads."""
        return [self.x_axis, self.only, self.kl_axis, self.tint]


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections.

    `chosen` holds the selected ids, `seen` the state of the list that the page shows, `kept` the columns and
    the order that this browser showed last.
    """

    filters: Filters
    table: gr.HTML
    pager: Pager
    buttons: Buttons
    tagging: Tagging
    confirmation: Confirmation
    message: gr.HTML
    overlay: Overlay
    chosen: gr.Textbox
    seen: gr.State
    kept: gr.BrowserState


def lay_out() -> Layout:
    """Lay out the whole page."""
    gr.HTML(
        widgets.page_header(
            _("Runs"),
            _("Tick runs to overlay their curves. The address can be shared."),
            widgets.link_button(_("Launch a run"), "launch", primary=True),
        )
    )
    return Layout(
        filters=_filters(),
        table=gr.HTML(widgets.loading(), js_on_load=_TICK, elem_id="runs-table"),
        pager=paging.controls(back=_("Back"), on=_("More")),
        buttons=_buttons(),
        tagging=_tagging(),
        confirmation=confirmation.lay_out(_("No")),
        message=gr.HTML(),
        overlay=_overlay(),
        chosen=gr.Textbox(visible="hidden", elem_id="runs-chosen"),
        seen=gr.State(()),
        kept=gr.BrowserState({}, storage_key="hypo-runs", secret="hypo-runs"),
    )


def _filters() -> Filters:
    states = [(_("any"), ALL), *((_(status.value), status.value) for status in RunStatus)]
    methods = [(_("any"), ALL), *((_(method.label), method.value) for method in Method)]
    with gr.Row(elem_classes="hy-filters"):
        return Filters(
            gr.Textbox(
                label=_("Name"), placeholder=_("part of the name"), max_lines=1, scale=0, min_width=220
            ),
            gr.Dropdown(methods, label=_("Method"), value=ALL, scale=0),
            gr.Dropdown(states, label=_("State"), value=ALL, scale=0),
            gr.Dropdown([(_("any"), ALL)], label=_("Dataset"), value=ALL, scale=0, min_width=220),
            gr.Dropdown([(_("any"), ALL)], label=_("Tag"), value=ALL, scale=0),
            gr.Dropdown(
                [(_(label), value) for label, value in _SHELVES],
                label=_("Show"),
                value=Shelf.CURRENT.value,
                scale=0,
            ),
            gr.Dropdown(
                [(_(column.title), column.key) for column in run_columns.CHOICES],
                value=list(run_columns.SHOWN),
                label=_("Columns"),
                multiselect=True,
                elem_classes="hy-columns",
            ),
            gr.Textbox(run_columns.NEWEST, visible="hidden", elem_id="runs-sort"),
        )


_SHELVES = [
    (N_("not archived"), Shelf.CURRENT.value),
    (N_("archived"), Shelf.ARCHIVED.value),
    (N_("all"), Shelf.ALL.value),
]


def _tagging() -> Tagging:
    with gr.Row(elem_classes="hy-buttons hy-tagging", visible=False) as tagging:
        return Tagging(
            tagging,
            gr.Textbox(
                label=_("Tags"),
                placeholder=_("baseline, paper"),
                info=_("With commas between them."),
                scale=0,
                min_width=260,
                max_length=900,
                max_lines=1,
            ),
            gr.Button(_("Add tags"), size="md", scale=0, min_width=140),
            gr.Button(_("Remove tags"), size="md", scale=0, min_width=140),
        )


def _buttons() -> Buttons:
    with gr.Row(elem_classes="hy-buttons"):
        return Buttons(
            gr.Button(_("Overlay"), size="md", variant="primary", scale=0, min_width=120, interactive=False),
            gr.Button(_("Cancel"), size="md", scale=0, min_width=100, interactive=False),
            gr.Button(_("Delete"), size="md", scale=0, min_width=100, interactive=False),
            gr.Button(_("Clone"), size="md", scale=0, min_width=130, interactive=False),
            gr.Button(_("Report"), size="md", scale=0, min_width=100, interactive=False),
            gr.Button(_("Archive"), size="md", scale=0, min_width=100, interactive=False),
            gr.Button(_("Unarchive"), size="md", scale=0, min_width=100, visible=False),
        )


def _overlay() -> Overlay:
    with gr.Column(visible=False, elem_id="overlay") as overlaid:
        key = gr.HTML()
        with gr.Tabs() as tabs:
            with gr.Tab(_("Charts"), id="charts") as of_charts:
                with gr.Row(elem_classes="hy-split"):
                    few = gr.HTML()
                    x_axis = charts.axis_choice()
                panel = charts.panel(elem_id="runs-charts")
            with gr.Tab(_("Configuration"), id="config") as of_config:
                only = gr.Checkbox(True, label=_("Show differences only"), container=False)
                config = gr.HTML()
            with gr.Tab(_("Frontier"), id="frontier") as of_frontier:
                with gr.Row(elem_classes="hy-split"):
                    kl_axis = charts.choice([(_("KL"), "kl"), (_("square root of KL"), "root")])
                    tint = charts.choice(
                        [
                            (_("a colour a run"), "run"),
                            (_("coloured by tokens"), "tokens"),
                            (_("by seconds"), "seconds"),
                        ]
                    )
                frontier = charts.panel(elem_id="runs-frontier")
                evaluated = gr.HTML()
    each = {"charts": of_charts, "config": of_config, "frontier": of_frontier}
    shown = key, x_axis, few, panel, only, config, kl_axis, tint, frontier, evaluated
    return Overlay(overlaid, *shown, gr.State(()), tabs, each)
