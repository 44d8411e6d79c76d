"""The components of the study's page."""

from dataclasses import dataclass

import gradio as gr

from app.ui import widgets


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole page."""

    header: gr.HTML
    body: gr.HTML


def lay_out() -> Layout:
    """Lay out the page."""
    return Layout(gr.HTML(widgets.loading()), gr.HTML())
