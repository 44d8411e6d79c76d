"""Addresses of the answer page."""

from app.i18n import _
from app.ui import widgets
from app.ui.widgets import Html


def answer_url(generation_id: int, *, beside: int | None = None) -> str:
    """The address of an answer's view, relative to any page; with the id of another answer, of both."""
    return widgets.url("answer", id=generation_id, beside=beside)


def answer_link(generation_id: int, text: object = "") -> Html:
    """A link to an answer's view."""
    return widgets.link(text or _("Token by token"), "answer", id=generation_id)
