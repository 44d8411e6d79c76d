"""The lineage as values of the command line and the API."""

from typing import Any

from app.lineage import Lineage
from app.lineage_nodes import Node
from app.store.lineage import Link


def lineage_view(found: Lineage) -> dict[str, Any]:
    """A lineage: its things, and the links from each to what was made with it."""
    return {
        "of": found.of.key,
        "nodes": [_node(node) for node in found.nodes],
        "links": [_link(link) for link in found.links],
        "cut": found.cut,
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "key": node.thing.key,
        "kind": node.thing.kind.value,
        "id": node.thing.id,
        "title": node.title,
        "detail": node.detail,
        "state": node.state,
        "method": node.method,
        "run_id": node.run_id,
        "notes": list(node.notes),
        "created_at": None if node.created_at is None else node.created_at.isoformat(),
    }


def _link(link: Link) -> dict[str, Any]:
    return {"source": link.source.key, "target": link.target.key, "relation": link.relation.value}
