"""The address of the run page."""

import gradio as gr

from app.errors import NotFound
from app.i18n import _
from app.ui import query


def run_id(request: gr.Request | None) -> int:
    """The run id in the page's address, as in `run?id=3`.

    Raises:
        NotFound: if the address has no valid id.
    """
    ids = query.ids(request, "id")
    if not ids:
        raise NotFound(_("The address names no run."))
    return ids[0]
