"""`hypo lineage`: what a dataset, run or campaign comes from, and what was made with it."""

from typing import Annotated

import typer

from app.cli.output import JsonFlag, print_json, print_table, warn
from app.lineage import Lineage, of, read_thing
from app.lineage_nodes import Node
from app.lineage_view import lineage_view
from app.lineage_words import made_from, places
from app.text import MAX_ID


def lineage(
    dataset: Annotated[str | None, typer.Option(help="NAME, NAME@VERSION or id.")] = None,
    run: Annotated[int | None, typer.Option(min=1, max=MAX_ID, help="A run's number.")] = None,
    campaign: Annotated[int | None, typer.Option(min=1, max=MAX_ID, help="A campaign's number.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a dataset, a run or a campaign comes from, and what was made with it."""
    found = of(read_thing(dataset=dataset, run=run, campaign=campaign))
    if as_json:
        print_json(lineage_view(found))
        return
    where = places(found)
    rows = [_row(node, found, where[node.thing]) for node in found.nodes]
    print_table(["", "kind", "what", "", "made from"], rows, empty="")
    for node in found.nodes:
        for note in node.notes:
            warn(f"{node.title}: {note}")
    if found.cut:
        warn("There are more things than are listed; the closest are.")


def _row(node: Node, found: Lineage, place: str) -> tuple[object, ...]:
    said = "; ".join(f"{phrase} {', '.join(names)}" for phrase, names in made_from(node.thing, found))
    return place, node.thing.kind.value, node.title, node.detail, said
