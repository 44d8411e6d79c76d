"""HTML pieces of the lineage page."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from app.i18n import N_, _, _n
from app.lineage import Lineage
from app.lineage_nodes import DELETED, Node
from app.lineage_words import AFTER, BEFORE, places
from app.store.lineage import Kind, Thing
from app.ui import formatting, widgets
from app.ui.lineage.address import NAMED, page_of, url_of
from app.ui.lineage.drawing import KINDS, draw, sentence
from app.ui.widgets import Html

LEAD: Final = N_("Which data, runs and votes something comes from, and what was made with it.")
_SECTIONS: Final = {BEFORE: N_("What it comes from"), AFTER: N_("What was made with it")}
_PAGES: Final = {
    Kind.DATASET: N_("The dataset"),
    Kind.RUN: N_("The run"),
    Kind.CAMPAIGN: N_("The campaign"),
}


def page(found: Lineage) -> tuple[Html, Html]:
    """The header and the body of a lineage."""
    here = found.node(found.of)
    return _header(here, found), widgets.join([_notes(here, found), _drawing(found), *_lists(found)])


def _header(here: Node, found: Lineage) -> Html:
    where = places(found)
    counts = [sum(place == wanted for place in where.values()) for wanted in (BEFORE, AFTER)]
    dataset = here.thing.kind is Kind.DATASET
    lead = _n(
        "{what}. It comes from {sources}, and {n} thing was made with it.",
        "{what}. It comes from {sources}, and {n} things were made with it.",
        counts[1],
        what=_("Dataset of {pairs}", pairs=here.detail) if dataset else formatting.capital(here.detail),
        sources=formatting.count(counts[0], "thing"),
    )
    label = _(_PAGES[here.thing.kind])
    back = Markup('<a class="hy-button" href="{}">{}</a>').format(page_of(here), label)
    title = _("Lineage of {name}", name=here.title)
    return widgets.page_header(title, lead, back, tab=title)


def _notes(here: Node, found: Lineage) -> Html:
    said = list(here.notes)
    if found.cut:
        said.append(_("There are more things than are drawn; those closest to this one are."))
    return widgets.notice(" ".join(said)) if said else widgets.NOTHING


def _drawing(found: Lineage) -> Html:
    """The drawing; of a thing without any links the sentence that there are none."""
    if not found.links:
        return widgets.empty_state(
            _("Nothing is linked to it yet"),
            _("Runs on this dataset, campaigns of its models and datasets of their votes appear here."),
        )
    note = _("From left to right. Follow a box to its page; the list below names everything.")
    return widgets.section(_("Drawing"), draw(found), note)


def _lists(found: Lineage) -> list[Html]:
    where = places(found)
    pieces, seen = list[Html](), set[Kind]()
    for place, title in _SECTIONS.items():
        nodes = [node for node in found.nodes if where[node.thing] == place]
        if nodes:
            pieces.append(widgets.section(_(title), _table(nodes, found, _(title), seen)))
    return pieces


def _table(nodes: Sequence[Node], found: Lineage, title: str, seen: set[Kind]) -> Html:
    """A table of things. The first of each kind is the target of links; `seen` has those that were."""
    rows = []
    for node in nodes:
        kind = node.thing.kind
        name = _(KINDS[kind])
        mark = Markup('<span id="lineage-{}">{}</span>').format(kind.value, name)
        rows.append((name if kind in seen else mark, *_cells(node, found)))
        seen.add(kind)
    return widgets.table([_("Kind"), _("What"), _("How it was made"), _("Remarks"), ""], rows, caption=title)


def _cells(node: Node, found: Lineage) -> tuple[object, ...]:
    address = page_of(node)
    title = Markup('<a href="{}">{}</a>').format(address, node.title) if address else node.title
    deleted = f" · {_('deleted')}" if node.state == DELETED else ""
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
    return Markup('<a class="hy-centre" href="{}">{}</a>').format(url_of(thing), _("Its lineage"))


def choose() -> tuple[Html, Html]:
    """The page without a thing in its address."""
    body = widgets.empty_state(
        _("Choose where to start"),
        _("The pages of a dataset, a run and a campaign have a button Lineage."),
        widgets.link_button(_("Datasets"), "datasets", primary=True),
        widgets.link_button(_("Runs"), "runs"),
        widgets.link_button(_("Campaigns"), "campaigns"),
    )
    return widgets.page_header(_("Lineage"), _(LEAD)), body


def missing(reason: str) -> tuple[Html, Html]:
    """The page of something that does not exist."""
    header, body = choose()
    return header, widgets.notice(reason, "warning") + body
