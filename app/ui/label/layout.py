"""Components of the Label page."""

from pathlib import Path
from typing import Final

import gradio as gr

from app.i18n import N_, _
from app.store.judging import MAX_REASON_CHARS
from app.templates import render
from app.ui import modules
from app.ui.widgets import NOTHING

STYLE: Final = f"<style>{Path(__file__).with_name('label.css').read_text(encoding='utf-8')}</style>"
START: Final = """
const root = element.querySelector("[data-script]");
import(new URL(root.dataset.script, document.baseURI)).then((page) => page.start(root));
"""
"""Starts the page's script; see gr.HTML's js_on_load."""

KEYS: Final = (
    ("1 2 3 4", N_("that answer is better; among three or four, the best and then the worst")),
    ("0", N_("a tie; equal in an aspect")),
    ("x", N_("both bad, or all bad; an aspect does not apply")),
    ("s", N_("skip: somebody else judges it")),
    ("u", N_("undo the last vote or skip, and the one before it; the last aspect")),
    ("Esc", N_("choose the best answer again; the aspect before")),
    ("r", N_("texts as they are, or formatted")),
    ("g", N_("the guidelines")),
    ("↑ ↓ Space", N_("scroll the answers together")),
)


def lay_out() -> gr.HTML:
    """Lay out the page, and return the place for the list of campaigns."""
    gr.HTML(STYLE, padding=False, visible="hidden")
    shell = render(
        "label/shell.html",
        script=modules.address("label", "label.js"),
        keys=[(keys, _(what)) for keys, what in KEYS],
        most_chars=MAX_REASON_CHARS,
    )
    gr.HTML(shell, js_on_load=START, padding=False)
    return gr.HTML(NOTHING, padding=False)
