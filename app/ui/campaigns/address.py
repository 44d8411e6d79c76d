"""The campaign that the page's address names: `campaigns?campaign=3`."""

import gradio as gr

from app.errors import NotFound
from app.i18n import _
from app.ui import query


def campaign_id(request: gr.Request | None) -> int:
    """The campaign's id.

    Raises:
        NotFound: if the address has no valid id.
    """
    ids = query.ids(request, "campaign")
    if not ids:
        raise NotFound(_("The address names no campaign."))
    return ids[0]
