"""The confirmation question before an action that cannot be undone."""

from dataclasses import dataclass

import gradio as gr

from app.i18n import _
from app.ui import widgets
from app.ui.updates import Updates


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A question above its two buttons; `wanted` holds the name of the pending action."""

    confirm: gr.Group
    question: gr.HTML
    wanted: gr.State
    yes: gr.Button
    no: gr.Button


def lay_out(no: str) -> Confirmation:
    """Lay out the controls, hidden until a question is asked.

    Args:
        no: label of the button that cancels.
    """
    with gr.Group(visible=False, elem_classes="hy-confirm") as confirm:
        question = gr.HTML()
        wanted = gr.State("")
        with gr.Row(elem_classes="hy-buttons"):
            return Confirmation(
                confirm,
                question,
                wanted,
                gr.Button(_("Yes"), variant="stop", size="md", min_width=160, scale=0),
                gr.Button(no, size="md", min_width=120, scale=0),
            )


def ask(sentence: str, *, yes: str, wanted: str, visible: bool = True) -> Updates:
    """Updates that show a question.

    Args:
        yes: label of the button that confirms.
    """
    return {
        "confirm": gr.update(visible=visible),
        "question": widgets.escape(sentence),
        "yes": yes,
        "wanted": wanted,
    }


def closed() -> tuple[object, str]:
    """Updates of `confirm` and `wanted` that hide the question."""
    return gr.update(visible=False), ""
