import gradio as gr

from app.ui import widgets


def build() -> None:
    gr.HTML(widgets.page_header("home", "Being built."))
