"""The lineage of a dataset, a run or a campaign: all that it comes from, and all that was made with it.

Shared by the page, the command line and the API. The links are in `app/store/lineage.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.lineage_nodes import Node, nodes_of
from app.store import campaigns, datasets, lineage, runs, users
from app.store.db import read_session
from app.store.lineage import Kind, Link, Thing

MOST_NODES: Final = 500
"""Things that are read; those closest to the one at hand come first."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """A thing with its ancestors and descendants, itself among them; `cut` tells that some were not read."""

    of: Thing
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    cut: bool = False

    def node(self, thing: Thing) -> Node:
        return next(node for node in self.nodes if node.thing == thing)


def of(thing: Thing, *, viewer: str = users.LOCAL) -> Lineage:
    """The lineage of a thing.

    Args:
        viewer: the person who reads it. Contenders of blind conversations whose names this person may not
            see yet are left out.

    Raises:
        NotFound: when the thing does not exist.
    """
    with read_session() as session:
        _check(thing, session)
        up, cut_up = _walk(thing, lineage.above, viewer, session)
        down, cut_down = _walk(thing, lineage.below, viewer, session)
        links = tuple(sorted({*up, *down}, key=_order))
        things = {thing, *(link.source for link in links), *(link.target for link in links)}
        return Lineage(thing, nodes_of(things, viewer, session), links, cut_up or cut_down)


def _order(link: Link) -> tuple[int, ...]:
    kinds = list(Kind)
    source, target = link.source, link.target
    return kinds.index(source.kind), source.id, kinds.index(target.kind), target.id


def read_thing(*, dataset: str | None = None, run: int | None = None, campaign: int | None = None) -> Thing:
    """The thing that a person names: a dataset as NAME, NAME@VERSION or id, a run or a campaign.

    Raises:
        InvalidInput: unless exactly one is named.
        NotFound: for a dataset that does not exist.
    """
    if sum(one is not None for one in (dataset, run, campaign)) != 1:
        raise InvalidInput("Name one of dataset, run and campaign.", field="dataset")
    if run is not None:
        return Thing(Kind.RUN, run)
    if campaign is not None:
        return Thing(Kind.CAMPAIGN, campaign)
    with read_session() as session:
        return Thing(Kind.DATASET, datasets.resolve(str(dataset), session=session).id)


def _check(thing: Thing, session: Session) -> None:
    if thing.kind is Kind.RUN:
        runs.get(thing.id, session=session)
    elif thing.kind is Kind.CAMPAIGN:
        campaigns.get(thing.id, session=session)
    else:
        datasets.get(thing.id, session=session)


_Step = Callable[..., list[Link]]


def _walk(start: Thing, step: _Step, viewer: str, session: Session) -> tuple[list[Link], bool]:
    """The links that a step reaches, and whether there are more than are read."""
    known, front, found = {start}, {start}, list[Link]()
    while front:
        reached = step(front, viewer, session=session)
        found += reached
        front = {end for link in reached for end in (link.source, link.target)} - known
        if len(known) + len(front) > MOST_NODES:
            kept = known | set(sorted(front, key=lambda thing: -thing.id)[: MOST_NODES - len(known)])
            return [link for link in found if {link.source, link.target} <= kept], True
        known |= front
    return found, False
