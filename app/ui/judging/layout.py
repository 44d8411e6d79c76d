"""The components of the judges' section, and their events."""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from app.endpoints.judging import MAX_TEMPLATE_CHARS, TEMPLATE
from app.i18n import _
from app.judge_kinds import MAX_SPEC_CHARS
from app.ui import events
from app.ui.judging import actions
from app.ui.updates import Components, Updates, connect, named, pick


@dataclass(frozen=True, slots=True)
class Judges:
    """The components of the section."""

    judges: gr.Column
    judged: gr.HTML
    judge_new: gr.Button
    judge_stop: gr.Button
    judge_resume: gr.Button
    judge_form: gr.Group
    judge_endpoint: gr.Dropdown
    judge_scorer: gr.Textbox
    judge_template: gr.Textbox
    judge_seed: gr.Number
    judge_message: gr.HTML
    judge_start: gr.Button
    judge_cancel: gr.Button


SHOWN = ("judges", "judged", "judge_new", "judge_stop", "judge_resume")
"""The components that change with the judges."""


def lay_out() -> Judges:
    """Lay out the section, hidden until `show` decides."""
    with gr.Column(visible=False, elem_classes="hy-page") as section:
        judged = gr.HTML()
        with gr.Row(elem_classes="hy-buttons"):
            new, stop, resume = (
                gr.Button(text, size="md", scale=0, min_width=160, visible=False)
                for text in (_("New judge"), _("Stop judging"), _("Continue judging"))
            )
        with gr.Group(visible=False, elem_classes="hy-panel") as form:
            endpoint = gr.Dropdown(
                [], label=_("Judge"), info=_("A configured endpoint, or a scorer."), elem_id="judge-endpoint"
            )
            scorer = gr.Textbox(
                label=_("Scorer"),
                info=_(
                    "length, vader, run:NUMBER of a reward model, its folder or hub id, or another scorer."
                ),
                max_lines=1,
                max_length=MAX_SPEC_CHARS,
                visible=False,
                elem_id="judge-scorer",
            )
            template = gr.Textbox(
                TEMPLATE,
                label=_("Question to the judge"),
                info=_("Must hold {question}, {answer_a} and {answer_b}. The form of the verdict is added."),
                lines=8,
                max_lines=20,
                max_length=MAX_TEMPLATE_CHARS,
                elem_id="judge-template",
            )
            seed = gr.Number(0, precision=0, label=_("Seed"), elem_id="judge-seed")
            message = gr.HTML(visible=False, elem_classes="hy-panel-message")
            with gr.Row(elem_classes="hy-buttons hy-panel-buttons"):
                start = gr.Button(_("Start judging"), variant="primary", size="md", scale=0, min_width=140)
                cancel = gr.Button(_("Cancel"), size="md", scale=0, min_width=110)
    head = section, judged, new, stop, resume
    return Judges(*head, form, endpoint, scorer, template, seed, message, start, cancel)


def wire(
    parts: Judges,
    shown: Components,
    *,
    start: Callable[..., Updates],
    stop: Callable[..., Updates],
    resume: Callable[..., Updates],
) -> None:
    """Attach the events of the section.

    Args:
        shown: what the handlers may change besides the form.
        start: a handler of endpoint, scorer, template and seed.
        stop, resume: handlers without values.
    """
    fields = pick(named(parts), "judge_scorer", "judge_template", "judge_seed")
    form = {**pick(named(parts), "judge_form", "judge_endpoint", "judge_message"), **fields}
    given = [parts.judge_endpoint, *fields.values()]
    connect(parts.judge_endpoint.input, actions.show_fields, parts.judge_endpoint, fields, **events.QUIET)
    connect(parts.judge_new.click, actions.open_form, None, form, **events.QUIET)
    parts.judge_cancel.click(actions.close_form, None, parts.judge_form, **events.QUIET)
    started = {**shown, **pick(form, "judge_form", "judge_message")}
    connect(parts.judge_start.click, start, given, started, trigger_mode="once", **events.QUIET)
    connect(parts.judge_stop.click, stop, None, shown, **events.QUIET)
    connect(parts.judge_resume.click, resume, None, shown, **events.QUIET)
