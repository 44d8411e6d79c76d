"""The components of the datasets page, by section."""

from dataclasses import dataclass

import gradio as gr

from app.i18n import _
from app.imports.service import DEFAULT_HELD_OUT, MOST_HELD_OUT
from app.store.enums import Split
from app.ui.datasets.mapping import MappingFields


@dataclass(frozen=True, slots=True)
class Adding:
    """The form that adds a dataset, and the list of all datasets."""

    overview: gr.Column
    file: gr.File
    hub: gr.Textbox
    split_name: gr.Textbox
    name: gr.Textbox
    held_out: gr.Slider
    add: gr.Button
    mapping: MappingFields
    look: gr.HTML
    found: gr.HTML


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of a version, one page at a time."""

    split: gr.Dropdown
    search: gr.Textbox
    page: gr.Number
    pages: gr.HTML
    pairs: gr.HTML


@dataclass(frozen=True, slots=True)
class Detail:
    """One version: facts, pairs, rows left out, and deletion."""

    detail: gr.Column
    facts: gr.HTML
    pairs: Pairs
    line_page: gr.Number
    left_out: gr.HTML
    leaks: gr.HTML
    leave_leaks: gr.Button
    check: gr.HTML
    lengths: gr.HTML
    delete: gr.Button
    yes: gr.Button
    no: gr.Button
    tabs: gr.Tabs
    of: dict[str, gr.Tab]


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections of the page."""

    header: gr.HTML
    message: gr.HTML
    adding: Adding
    detail: Detail


def lay_out() -> Layout:
    """Lay out the whole page; the address determines which of the two sections is shown."""
    return Layout(gr.HTML(), gr.HTML(), _adding(), _detail())


def _adding() -> Adding:
    with gr.Column(visible=False) as overview:
        with gr.Row():
            with gr.Column(scale=3):
                file = gr.File(
                    label=_("JSON, CSV, Excel, Parquet, Arrow, or a zip"),
                    type="filepath",
                    height=150,
                )
                with gr.Row():
                    hub = gr.Textbox(
                        label=_("Or a Hugging Face id"),
                        placeholder="trl-lib/ultrafeedback_binarized",
                        info=_("Fetched from the hub when you add it. Needs a network."),
                        scale=2,
                        min_width=280,
                    )
                    split_name = gr.Textbox(
                        label=_("Split"),
                        placeholder="train",
                        info=_("For a zip or hub dataset with several splits."),
                        max_length=100,
                        scale=1,
                        min_width=200,
                    )
            with gr.Column(scale=2):
                name = gr.Textbox(
                    label=_("Name"), info=_("An existing name gets a new version."), max_length=100
                )
                held_out = gr.Slider(
                    0,
                    MOST_HELD_OUT,
                    value=DEFAULT_HELD_OUT,
                    step=0.01,
                    label=_("Held-out share"),
                    info=_("Kept for evaluation, split by prompt: no prompt is on both sides."),
                )
                add = gr.Button(_("Add dataset"), variant="primary")
        mapping, look, found = MappingFields(), gr.HTML(), gr.HTML()
    return Adding(overview, file, hub, split_name, name, held_out, add, mapping, look, found)


def _detail() -> Detail:
    with gr.Column(visible=False) as detail:
        facts = gr.HTML()
        each = dict[str, gr.Tab]()
        with gr.Tabs() as tabs:
            with gr.Tab(_("Pairs"), id="pairs") as each["pairs"]:
                pairs = _pairs()
            with gr.Tab(_("Left out"), id="left-out") as each["left-out"]:
                line_page = gr.Number(1, label=_("Page"), precision=0, minimum=1, scale=0, min_width=110)
                left_out = gr.HTML()
            with gr.Tab(_("Check"), id="check") as each["check"]:
                leaks = gr.HTML()
                leave_leaks = gr.Button(
                    _("Make a version without these pairs"), size="md", min_width=240, scale=0, visible=False
                )
                check = gr.HTML()
            with gr.Tab(_("Lengths"), id="lengths") as each["lengths"]:
                lengths = gr.HTML()
        with gr.Row(elem_classes="hy-buttons"):
            delete = gr.Button(_("Delete this version"), size="md", min_width=170, scale=0)
            yes = gr.Button(
                _("Yes, delete it"), variant="stop", size="md", min_width=150, scale=0, visible=False
            )
            no = gr.Button(_("No, keep it"), size="md", min_width=120, scale=0, visible=False)
    checked, buttons = (leaks, leave_leaks, check), (delete, yes, no)
    return Detail(detail, facts, pairs, line_page, left_out, *checked, lengths, *buttons, tabs, each)


def _pairs() -> Pairs:
    splits = [
        (_("all"), ""),
        (_("training"), Split.TRAIN.value),
        (_("held out"), Split.HELD_OUT.value),
        (_("voted on"), Split.VOTED.value),
    ]
    with gr.Row(elem_classes="hy-filters"):
        split = gr.Dropdown(splits, value="", label=_("Side"), scale=0)
        search = gr.Textbox(label=_("Search"), placeholder=_("words in prompt or answers"), scale=1)
        page = gr.Number(1, label=_("Page"), precision=0, minimum=1, scale=0, min_width=110)
    return Pairs(split, search, page, gr.HTML(), gr.HTML())
