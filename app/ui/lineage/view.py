"""HTML pieces of the lineage page."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from app.lineage import Lineage
from app.lineage_nodes import DELETED, Node
from app.lineage_words import AFTER, BEFORE, places
from app.store.lineage import Kind, Thing
from app.ui import formatting, widgets
from app.ui.lineage.address import NAMED, page_of, url_of
from app.ui.lineage.drawing import KINDS, draw, sentence
from app.ui.widgets import Html

LEAD: Final = "Which data, runs and votes something comes from, and what was made with it."
_SECTIONS: Final = {BEFORE: "What it comes from", AFTER: "What was made with it"}
_PAGES: Final = {Kind.DATASET: "The dataset", Kind.RUN: "The run", Kind.CAMPAIGN: "The campaign"}


def page(found: Lineage) -> tuple[Html, Html]:
    """The header and the body of a lineage."""
    here = found.node(found.of)
    return _header(here, found), widgets.join([_notes(here, found), _drawing(found), *_lists(found)])


def _header(here: Node, found: Lineage) -> Html:
    where = places(found)
    counts = [sum(place == wanted for place in where.values()) for wanted in (BEFORE, AFTER)]
    dataset = here.thing.kind is Kind.DATASET
    lead = Markup("{}. It comes from {}, and {} made with it.").format(
        f"Dataset of {here.detail}" if dataset else formatting.capital(here.detail),
        formatting.count(counts[0], "thing"),
        f"{formatting.count(counts[1], 'thing')} {'was' if counts[1] == 1 else 'were'}",
    )
    label = _PAGES[here.thing.kind]
    back = Markup('<a class="hy-button" href="{}">{}</a>').format(page_of(here), label)
    return widgets.page_header(f"Lineage of {here.title}", lead, back, tab=f"Lineage of {here.title}")


def _notes(here: Node, found: Lineage) -> Html:
    said = list(here.notes)
    if found.cut:
        said.append("There are more things than are drawn; those closest to this one are.")
    return widgets.notice(" ".join(said)) if said else widgets.NOTHING


def _drawing(found: Lineage) -> Html:
    """The drawing; of a thing without any links the sentence that there are none."""
    if not found.links:
        return widgets.empty_state(
            "Nothing is linked to it yet",
            "Runs on this dataset, campaigns of its models and datasets of their votes appear here.",
        )
    note = "From left to right. Follow a box to its page; the list below names everything."
    return widgets.section("Drawing", draw(found), note)


def _lists(found: Lineage) -> list[Html]:
    where = places(found)
    pieces, seen = list[Html](), set[Kind]()
    for place, title in _SECTIONS.items():
        nodes = [node for node in found.nodes if where[node.thing] == place]
        if nodes:
            pieces.append(widgets.section(title, _table(nodes, found, title, seen)))
    return pieces


def _table(nodes: Sequence[Node], found: Lineage, title: str, seen: set[Kind]) -> Html:
    """A table of things. The first of each kind is the target of links; `seen` has those that were."""
    rows = []
    for node in nodes:
        kind = node.thing.kind
        name = KINDS[kind]
        mark = Markup('<span id="lineage-{}">{}</span>').format(kind.value, name)
        rows.append((name if kind in seen else mark, *_cells(node, found)))
        seen.add(kind)
    return widgets.table(["Kind", "What", "How it was made", "Remarks", ""], rows, caption=title)


def _cells(node: Node, found: Lineage) -> tuple[object, ...]:
    address = page_of(node)
    title = Markup('<a href="{}">{}</a>').format(address, node.title) if address else node.title
    deleted = " · deleted" if node.state == DELETED else ""
    what = Markup('{}<br><span class="hy-note">{}{}</span>').format(title, node.detail, deleted)
    made = node.created_at and formatting.ago(node.created_at)
    how = Markup("{} {}").format(
        sentence(node, found), Markup('<span class="hy-note">{}</span>').format(made) if made else ""
    )
    return what, how, " ".join(node.notes), _centre(node.thing)


def _centre(thing: Thing) -> Html:
    """A link to the lineage of a thing that has one."""
    if thing.kind not in NAMED:
        return widgets.NOTHING
    return Markup('<a class="hy-centre" href="{}">Its lineage</a>').format(url_of(thing))


def choose() -> tuple[Html, Html]:
    """The page without a thing in its address."""
    body = widgets.empty_state(
        "Choose where to start",
        "The pages of a dataset, a run and a campaign have a button Lineage.",
        widgets.link_button("Datasets", "datasets", primary=True),
        widgets.link_button("Runs", "runs"),
        widgets.link_button("Campaigns", "campaigns"),
    )
    return widgets.page_header("Lineage", LEAD), body


def missing(reason: str) -> tuple[Html, Html]:
    """The page of something that does not exist."""
    header, body = choose()
    return header, widgets.notice(reason, "warning") + body
