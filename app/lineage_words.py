"""What the page and the command say of a lineage: where a thing stands in it, and how it was made."""

from typing import Final

from app.i18n import N_, _
from app.lineage import Lineage
from app.lineage_nodes import Node
from app.store.lineage import Kind, Relation, Thing

_PHRASES: Final = {
    Relation.IMPORTED: N_("imported from"),
    Relation.LEFT_OUT: N_("some pairs left out of"),
    Relation.TRAINED: N_("trained on"),
    Relation.REWARDED: N_("rewarded by"),
    Relation.STARTED: N_("started from"),
    Relation.SAVED: N_("saved by"),
    Relation.ANSWERED: N_("answered by"),
    Relation.ASKED: N_("prompts of"),
    Relation.JUDGED: N_("votes in"),
    Relation.BECAME: N_("pairs from"),
}
"""How a thing was made, before the names of what it was made from."""

BEFORE, HERE, AFTER = "before", "here", "after"


def made_from(thing: Thing, found: Lineage) -> list[tuple[str, list[str]]]:
    """How a thing was made: a phrase, and the titles of what it was made from, for each relation."""
    titles = {node.thing: name_of(node) for node in found.nodes}
    said: dict[str, list[str]] = {}
    for link in found.links:
        if link.target == thing:
            said.setdefault(_(_PHRASES[link.relation]), []).append(titles[link.source])
    return [(phrase, sorted(names)) for phrase, names in said.items()]


def name_of(node: Node) -> str:
    """A thing's name within a sentence."""
    if node.thing.kind is Kind.VOTES:
        return f"{node.title} {node.detail}"
    if node.thing.kind is Kind.CAMPAIGN:
        return _("campaign {id}", id=node.thing.id)
    return node.title


def places(found: Lineage) -> dict[Thing, str]:
    """Whether each thing comes before the one at hand, or after it."""
    before, front = set[Thing](), {found.of}
    while front:
        front = {link.source for link in found.links if link.target in front} - before - {found.of}
        before |= front
    return {
        node.thing: HERE if node.thing == found.of else BEFORE if node.thing in before else AFTER
        for node in found.nodes
    }
