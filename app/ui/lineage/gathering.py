"""Fewer boxes for the drawing: things that end alike are gathered into one box. The list names them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.lineage import Lineage
from app.lineage_nodes import Node
from app.store.lineage import Kind, Thing

MOST_ALIKE: Final = 6
"""Things of one kind with the same neighbours that are drawn one by one."""
SHOWN: Final = 4
"""Of more, those that are drawn: the newest."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the drawing: a thing, or several that are alike. `more` counts those of the latter."""

    key: str
    node: Node
    more: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """The boxes, and the lines between them by key."""

    boxes: tuple[Box, ...]
    lines: tuple[tuple[str, str], ...]


def gathered(found: Lineage) -> Graph:
    """The boxes of a lineage."""
    alike: dict[tuple[Kind, frozenset[Thing], frozenset[Thing]], list[Node]] = {}
    before: dict[Thing, set[Thing]] = {node.thing: set() for node in found.nodes}
    after: dict[Thing, set[Thing]] = {node.thing: set() for node in found.nodes}
    for link in found.links:
        before[link.target].add(link.source)
        after[link.source].add(link.target)
    for node in found.nodes:
        ends = not before[node.thing] or not after[node.thing]
        if ends and node.thing != found.of:
            key = (node.thing.kind, frozenset(before[node.thing]), frozenset(after[node.thing]))
            alike.setdefault(key, []).append(node)
    box_of: dict[Thing, str] = {node.thing: node.thing.key for node in found.nodes}
    boxes = {node.thing.key: Box(node.thing.key, node) for node in found.nodes}
    for nodes in alike.values():
        if len(nodes) > MOST_ALIKE:
            _gather(sorted(nodes, key=lambda node: -node.thing.id)[SHOWN:], box_of, boxes)
    lines = dict.fromkeys((box_of[link.source], box_of[link.target]) for link in found.links)
    return Graph(tuple(boxes.values()), tuple(lines))


def _gather(nodes: Sequence[Node], box_of: dict[Thing, str], boxes: dict[str, Box]) -> None:
    """Replace boxes by one, in the place of the last."""
    key = f"{nodes[0].thing.key}+{len(nodes)}"
    for node in nodes:
        box_of[node.thing] = key
        del boxes[node.thing.key]
    boxes[key] = Box(key, nodes[0], len(nodes))
