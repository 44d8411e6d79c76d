"""The components of the reports page, by section."""

from dataclasses import dataclass

import gradio as gr

from app.i18n import _
from app.reports.changing import MAX_NOTES_CHARS, MAX_QUESTION_CHARS
from app.ui import charts, confirmation, paging, widgets
from app.ui.confirmation import Confirmation
from app.ui.paging import Pager


@dataclass(frozen=True, slots=True)
class Frame:
    """Components outside the sections; `seen` is the state that the open page shows."""

    header: gr.HTML
    seen: gr.State
    timer: gr.Timer


@dataclass(frozen=True, slots=True)
class Listing:
    """The list of reports."""

    listing: gr.Column
    table: gr.HTML
    pager: Pager


@dataclass(frozen=True, slots=True)
class Edit:
    """The panel that edits question and notes."""

    editing: gr.Group
    question_text: gr.Textbox
    notes: gr.Textbox
    problem: gr.HTML
    save: gr.Button
    cancel: gr.Button


@dataclass(frozen=True, slots=True)
class One:
    """One report."""

    one: gr.Column
    change: gr.Button
    delete: gr.Button
    confirmation: Confirmation
    message: gr.HTML
    edit: Edit
    top: gr.HTML
    curves: gr.Column
    key: gr.HTML
    panel: gr.HTML
    bottom: gr.HTML


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections; the address decides which of the list and one report is visible."""

    frame: Frame
    listing: Listing
    one: One


def lay_out() -> Layout:
    """Lay out the whole page."""
    frame = Frame(gr.HTML(widgets.loading()), gr.State(""), gr.Timer(10.0, active=False))
    with gr.Column(visible=False) as listing:
        listed = Listing(listing, gr.HTML(), paging.controls())
    return Layout(frame, listed, _one())


def _one() -> One:
    with gr.Column(visible=False, elem_classes="hy-page") as one:
        with gr.Row(elem_classes="hy-buttons"):
            change = gr.Button(_("Edit"), size="md", scale=0, min_width=90, visible=False)
            delete = gr.Button(_("Delete"), size="md", scale=0, min_width=90, visible=False)
        confirm, message, edit = confirmation.lay_out(_("No, keep it")), gr.HTML(), _edit()
        top = gr.HTML()
        with gr.Column(visible=False, elem_classes="hy-page") as curves:
            key = gr.HTML()
            panel = charts.panel(elem_id="report-charts")
        bottom = gr.HTML()
    return One(one, change, delete, confirm, message, edit, top, curves, key, panel, bottom)


def _edit() -> Edit:
    with gr.Group(visible=False, elem_classes="hy-panel") as editing:
        question = gr.Textbox(
            label=_("Question"), max_lines=1, max_length=MAX_QUESTION_CHARS, elem_id="report-question"
        )
        notes = gr.Textbox(
            label=_("Notes"),
            info=_("What was tried and found, in Markdown."),
            lines=6,
            max_lines=24,
            max_length=MAX_NOTES_CHARS,
            elem_id="report-notes",
        )
        problem = gr.HTML(visible=False, elem_classes="hy-panel-message")
        with gr.Row(elem_classes="hy-buttons hy-panel-buttons"):
            save = gr.Button(_("Save"), variant="primary", size="md", scale=0, min_width=110)
            cancel = gr.Button(_("Cancel"), size="md", scale=0, min_width=110)
    return Edit(editing, question, notes, problem, save, cancel)
