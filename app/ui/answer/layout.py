"""Components of the answer page."""

from pathlib import Path
from typing import Final

import gradio as gr

from app.i18n import _
from app.templates import render
from app.ui import modules
from app.ui.theme import ROLES

TOKENS_STYLE: Final = Path(__file__).with_name("tokens.css").read_text(encoding="utf-8")
STYLE: Final = f"<style>{TOKENS_STYLE}</style>"
START: Final = """
const root = element.querySelector("[data-script]");
import(new URL(root.dataset.script, document.baseURI)).then((page) => page.start(root));
"""
"""Starts the page's script; see gr.HTML's js_on_load."""


def badges() -> dict[str, tuple[str, str]]:
    """The letter and the name of each method, for the page's script."""
    return {method: (role.letter, _(role.label)) for method, role in ROLES.items()}


def lay_out() -> None:
    """Lay out the page. Its script fills it in."""
    gr.HTML(STYLE, padding=False, visible="hidden")
    shell = render("answer/shell.html", script=modules.address("answer", "answer.js"), badges=badges())
    gr.HTML(shell, js_on_load=START, padding=False)
