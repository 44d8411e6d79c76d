"""The thing in the address of the lineage page, and the pages of things."""

import gradio as gr

from app.errors import NotFound
from app.i18n import _
from app.lineage_nodes import Node
from app.store.lineage import Kind, Thing
from app.ui import query, widgets

NAMED = (Kind.DATASET, Kind.RUN, Kind.CAMPAIGN)
"""The kinds whose lineage has an address."""


def thing_of(request: gr.Request | None) -> Thing | None:
    """The thing that the address names; None if it names none.

    Raises:
        NotFound: when what it names is no number.
    """
    for kind in NAMED:
        if text := query.value(request, kind.value):
            ids = query.to_ids(text)
            if not ids:
                raise NotFound(
                    _(
                        "{kind} {text!r} is no number; follow a link from its page.",
                        kind=kind.value,
                        text=text[:60],
                    )
                )
            return Thing(kind, ids[0])
    return None


def url_of(thing: Thing) -> str:
    """The address of a thing's lineage."""
    return widgets.url("lineage", **{thing.kind.value: thing.id})


def page_of(node: Node) -> str:
    """The address of the page that shows a thing; empty if none does."""
    thing = node.thing
    pages = {
        Kind.DATASET: ("datasets", "id", thing.id),
        Kind.RUN: ("run", "id", thing.id),
        Kind.CHECKPOINT: ("run", "id", node.run_id),
        Kind.CAMPAIGN: ("campaigns", "campaign", thing.id),
        Kind.VOTES: ("campaigns", "campaign", thing.id),
        Kind.CHATS: ("results", "", None),
    }
    if thing.kind not in pages:
        return ""
    page, name, value = pages[thing.kind]
    return widgets.url(page, **({name: value} if name else {}))
