"""The address of a run's page."""

import gradio as gr

from app.errors import NotFound
from app.ui import query


def run_id(request: gr.Request | None) -> int:
    """The run that the address names, as in `run?id=3`.

    Raises:
        NotFound: it names none.
    """
    ids = query.ids(request, "id")
    if not ids:
        raise NotFound("The address names no run.")
    return ids[0]
