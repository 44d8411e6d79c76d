"""The lineage of a dataset, a run or a campaign. The address holds the whole state."""

import gradio as gr

from app import lineage
from app.errors import NotFound
from app.i18n import N_
from app.ui import query
from app.ui.lineage import view
from app.ui.lineage.address import thing_of
from app.ui.lineage.layout import lay_out
from app.ui.opening import on_open
from app.ui.updates import Updates, named


def build() -> None:
    """Lay out the page, then wire its events."""
    on_open(N_("Lineage"), show, None, named(lay_out()))


def show(request: gr.Request | None = None) -> Updates:
    """Show the lineage of what the address names."""
    try:
        thing = thing_of(request)
        if thing is None:
            header, body = view.choose()
        else:
            header, body = view.page(lineage.of(thing, viewer=query.username(request)))
    except NotFound as error:
        header, body = view.missing(str(error))
    return {"header": header, "body": body}
