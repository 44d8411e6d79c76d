"""Addresses of the page Score a text."""

from app.ui import widgets


def score_url(*, answer: int | None = None, conversation: int | None = None) -> str:
    """The address of the form, filled in from an answer or from the last question of a conversation."""
    return widgets.url("score", answer=answer, conversation=conversation)
