"""The lineage as an SVG that the server draws: boxes that are links, from left to right."""

from typing import Any, Final

from app.i18n import N_, _
from app.lineage import Lineage
from app.lineage_nodes import DELETED, Node
from app.lineage_words import made_from
from app.store.lineage import Kind
from app.templates import render
from app.ui import formatting
from app.ui.lineage.address import page_of
from app.ui.lineage.gathering import Box, gathered
from app.ui.lineage.placing import BOX_HEIGHT, BOX_WIDTH, place
from app.ui.theme import role
from app.ui.widgets import Html

TITLE_CHARS: Final = 23
DETAIL_CHARS: Final = 29

KINDS: Final = {
    Kind.SOURCE: N_("Source"),
    Kind.DATASET: N_("Dataset"),
    Kind.RUN: N_("Run"),
    Kind.CHECKPOINT: N_("Checkpoint"),
    Kind.CAMPAIGN: N_("Campaign"),
    Kind.VOTES: N_("Votes"),
    Kind.CHATS: N_("Votes"),
}

_LISTED: Final = {
    Kind.SOURCE: N_("sources, listed below"),
    Kind.DATASET: N_("datasets, listed below"),
    Kind.RUN: N_("runs, listed below"),
    Kind.CHECKPOINT: N_("checkpoints, listed below"),
    Kind.CAMPAIGN: N_("campaigns, listed below"),
    Kind.VOTES: N_("votes, listed below"),
    Kind.CHATS: N_("votes, listed below"),
}


def draw(found: Lineage) -> Html:
    """The drawing, in a box that scrolls."""
    graph = gathered(found)
    placed = place([box.key for box in graph.boxes], graph.lines)
    here = found.of.key
    boxes = [_box(box, found, placed.boxes[box.key]) for box in graph.boxes]
    boxes.sort(key=lambda box: (box["x"], box["y"]))  # the order of the keyboard
    return render(
        "lineage/graph.html",
        width=placed.width,
        height=placed.height,
        box_width=BOX_WIDTH,
        box_height=BOX_HEIGHT,
        boxes=boxes,
        lines=[
            {"path": path, "near": here in line, "back": line in placed.back}
            for line, path in placed.lines.items()
        ],
        title=found.node(found.of).title,
    )


def _box(box: Box, found: Lineage, place: tuple[float, float]) -> dict[str, Any]:
    node, kind = box.node, box.node.thing.kind
    title, detail = node.title, node.detail
    if box.more:
        title, detail = _("{n} more", n=f"{box.more:,}"), _(_LISTED[kind])
    look = role(node.method) if node.method else None
    return {
        "x": place[0],
        "y": place[1],
        "href": f"#lineage-{kind.value}" if box.more else page_of(node),
        "kind": kind.value,
        "title": formatting.clip(title, TITLE_CHARS),
        "detail": formatting.clip(_detail(node, detail, more=bool(box.more)), DETAIL_CHARS),
        "said": f"{_(KINDS[kind])}: {title}, {detail}. {sentence(node, found)}".strip(),
        "letter": look.letter if look and not box.more else "",
        "method": node.method if look and not box.more else "",
        "here": node.thing == found.of,
        "gone": node.state == DELETED or (kind is Kind.SOURCE and bool(node.notes)),
        "more": bool(box.more),
    }


def _detail(node: Node, detail: str, *, more: bool) -> str:
    """The second line of a box; of a dataset it begins with the kind."""
    if more or node.thing.kind is not Kind.DATASET:
        return detail
    deleted = f" · {_('deleted')}" if node.state == DELETED else ""
    return f"{_('dataset')} · {detail}{deleted}"


def sentence(node: Node, found: Lineage) -> str:
    """How a thing was made, in one sentence; empty if it is made of nothing here."""
    said = "; ".join(
        f"{phrase} {formatting.in_words(names)}" for phrase, names in made_from(node.thing, found)
    )
    return f"{formatting.capital(said)}." if said else ""
