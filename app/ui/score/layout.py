"""Components of the page Score a text."""

from dataclasses import dataclass

import gradio as gr

from app.i18n import _
from app.store.conversations import MAX_CONTENDERS
from app.templates import render
from app.ui import modules, widgets
from app.ui.answer.layout import START, STYLE, badges


@dataclass(frozen=True, slots=True)
class Form:
    """The contenders, the prompt with the messages before it, and the text."""

    contenders: gr.Dropdown
    before: gr.State
    opening: gr.HTML
    question: gr.Textbox
    text: gr.Textbox
    score: gr.Button
    message: gr.HTML
    recent: gr.HTML


def lay_out() -> Form:
    """Lay out the whole page."""
    gr.HTML(STYLE, padding=False, visible="hidden")
    gr.HTML(
        widgets.page_header(
            _("Score a text"),
            _(
                "How likely does each model find this answer? Log-probability, perplexity, and the log-ratio "
                "to the reference, token by token."
            ),
        )
    )
    shell = render("score/shell.html", script=modules.address("answer", "score.js"), badges=badges())
    gr.HTML(shell, js_on_load=START, padding=False)
    before = gr.State({"opening": [], "as_text": False})
    opening = gr.HTML(visible=False)
    question = gr.Textbox(label=_("Prompt"), lines=2, max_lines=12)
    text = gr.Textbox(label=_("Text to score as its answer"), lines=5, max_lines=24)
    contenders = gr.Dropdown(
        [],
        multiselect=True,
        max_choices=MAX_CONTENDERS,
        label=_("Contenders"),
        info=_("Up to four. Each is compared with the base model that it started from."),
    )
    message = gr.HTML()
    score = gr.Button(_("Score"), variant="primary", elem_classes="hy-tokens-score")
    recent = gr.HTML(widgets.loading())
    return Form(contenders, before, opening, question, text, score, message, recent)
