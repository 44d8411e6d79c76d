"""`hypo datasets`: add, list, show, delete."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import NO_ANSWER, BeforeId, JsonFlag, print_json, print_table, say, say_more, warn
from app.cli.pairs import add_commands
from app.errors import InvalidInput
from app.imports import add_dataset
from app.imports.hub import add_from_hub
from app.imports.spool import KEPT_LEFT_OUT
from app.store import datasets
from app.store.db import read_session
from app.views import added_view, dataset_view
from hypo_engine.data.formats import Account

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

cli = typer.Typer(help="Datasets of preference pairs.", no_args_is_help=True)
add_commands(cli)


@cli.command("add")
def add_command(
    file: Annotated[
        str,
        typer.Argument(
            help="A JSON, JSONL, CSV, Excel, Parquet or Arrow file, gzipped or not; a folder or "
            "zip of such files, or a folder written by save_to_disk; or a hub id."
        ),
    ],
    name: Annotated[str, typer.Option(help="The dataset's name; an existing name gets a new version.")],
    held_out: Annotated[float, typer.Option(help="Share of the prompts kept for evaluation.")] = 0.1,
    columns: Annotated[
        str | None,
        typer.Option(
            help="For other formats: prompt=COLUMN,chosen=COLUMN,rejected=COLUMN, or "
            "prompt=COLUMN,a=COLUMN,b=COLUMN,winner=COLUMN; prompt is optional, "
            "system=COLUMN may be added, and data.answer names the key answer of the "
            "objects in column data."
        ),
    ] = None,
    a_wins: Annotated[
        list[str] | None,
        typer.Option(help="A value in the winner column that means A is better, or a bound such as <0."),
    ] = None,
    b_wins: Annotated[
        list[str] | None, typer.Option(help="A value in the winner column that means B is better.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split of a folder, zip or hub dataset; the training split by default.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Add a file or folder as a dataset; rows that are not a pair are left out, each with its reason."""
    path = Path(file)
    mapping = _mapping(columns, a_wins, b_wins)
    if path.exists() or not _HUB_ID.fullmatch(file):
        added = add_dataset(path=path, name=name, mapping=mapping, held_out=held_out, split=split)
    else:
        added = add_from_hub(repo_id=file, name=name, mapping=mapping, held_out=held_out, split=split)
    if as_json:
        print_json(added_view(added, most=KEPT_LEFT_OUT))
        return
    say(f"Dataset {added.id}: {added.name} version {added.version}, {added.rows} pairs.")
    for entry in added.left_out[:20]:
        warn(f"Row {entry.row} left out: {entry.reason}")
    if added.left_out_count > 20:
        warn(f"... and {added.left_out_count - 20} more; `hypo datasets show {added.id}` counts them.")
    for sentence in added.account.sentences(reasons=added.left_out_count > 1):
        warn(sentence)
    if added.one_sided:
        warn(added.one_sided)


def _mapping(
    columns: str | None, a_wins: list[str] | None, b_wins: list[str] | None
) -> dict[str, Any] | None:
    if columns is None:
        if a_wins or b_wins:
            raise InvalidInput(
                "--a-wins and --b-wins need --columns a=COLUMN,b=COLUMN,winner=COLUMN.", field="columns"
            )
        return None
    named = dict(part.partition("=")[::2] for part in columns.split(","))
    return {**named, "a_wins": a_wins or [], "b_wins": b_wins or []}


@cli.command("list")
def list_command(
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Maximum number of datasets to list.")
    ] = 1000,
    before: BeforeId = None,
    as_json: JsonFlag = False,
) -> None:
    """List datasets, newest first."""
    with read_session() as session:
        found = datasets.find(session=session, limit=limit + 1, before=before)
    views = [dataset_view(dataset) for dataset in found[:limit]]
    if as_json:
        print_json(views)
        return
    print_table(
        ["id", "name", "version", "pairs", "left out", "format", "source"],
        (
            [view[key] for key in ("id", "name", "version", "rows", "left_out_count", "format", "source")]
            for view in views
        ),
        empty="No datasets yet; `hypo datasets add FILE --name NAME` adds one.",
    )
    say_more(views, more=len(found) > limit)


@cli.command("show")
def show_command(
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@VERSION or id.")],
    as_json: JsonFlag = False,
) -> None:
    """Show one dataset: counts, what was left out and why, and its first pairs."""
    with read_session() as session:
        found = datasets.resolve(dataset, session=session)
        view = dataset_view(found)
        view["left_out"] = [
            {"row": entry.row, "reason": entry.reason}
            for entry in datasets.page_of_left_out(found.id, session=session, limit=1000)
        ]
        view["splits"] = asdict(datasets.split_counts(found.id, session=session))
        view["first"] = [
            asdict(datasets.pair_of(pair))
            for pair in datasets.page_of_pairs(found.id, session=session, limit=3)
        ]
    if as_json:
        print_json(view)
        return
    for key in ("name", "version", "rows", "splits", "left_out_count", "format", "source", "sha256"):
        say(f"{key:<15} {view[key]}")
    for sentence in Account.of(view["account"]).sentences(reasons=True):
        warn(sentence)
    for entry in view["left_out"][:20]:
        warn(f"Row {entry['row']} left out: {entry['reason']}")
    for pair in view["first"]:
        chosen, rejected = (pair[side] or NO_ANSWER for side in ("chosen", "rejected"))
        say(f"\nprompt    {pair['prompt']}\nchosen    {chosen}\nrejected  {rejected}")
        if (pair["weight"], pair["margin"]) != (1, 0):
            say(f"weight    {pair['weight']:g}\nmargin    {pair['margin']:g}")
