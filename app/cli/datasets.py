"""`hypo datasets`: add, list, show, delete."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import JsonFlag, print_json, print_table, say, warn
from app.errors import InvalidInput
from app.imports import add_dataset
from app.imports.hub import add_from_hub
from app.store import datasets
from app.store.db import read_session, write_session
from app.views import dataset_view
from hypo_engine.formats import ColumnMapping

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

cli = typer.Typer(help="Datasets of preference pairs.", no_args_is_help=True)


@cli.command("add")
def add_command(
    file: Annotated[
        str,
        typer.Argument(
            help="A JSON, JSONL, CSV, Excel, Parquet or Arrow file, gzipped or not; a folder or zip of such "
            "files, or one that save_to_disk wrote; or a hub id."
        ),
    ],
    name: Annotated[str, typer.Option(help="The dataset's name; an old name makes a new version.")],
    held_out: Annotated[float, typer.Option(help="Share of the prompts kept for evaluation.")] = 0.1,
    columns: Annotated[
        str | None,
        typer.Option(
            help="For unknown formats: prompt=COLUMN,chosen=COLUMN,rejected=COLUMN; prompt is optional."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split of a folder, zip or hub dataset; the training split when left out.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Add a file or folder as a dataset; rows that are no pair are left out, each with its reason."""
    path = Path(file)
    mapping = _mapping(columns)
    with write_session() as session:
        if path.exists() or not _HUB_ID.fullmatch(file):
            added = add_dataset(
                session=session, path=path, name=name, mapping=mapping, held_out=held_out, split=split
            )
        else:
            added = add_from_hub(
                session=session, repo_id=file, name=name, mapping=mapping, held_out=held_out, split=split
            )
    left_out = [{"row": entry.row, "reason": entry.reason} for entry in added.left_out]
    if as_json:
        print_json(
            {"id": added.id, "name": added.name, "version": added.version, "rows": added.rows}
            | {"left_out_count": added.left_out_count, "left_out": left_out, "remarks": added.remarks}
        )
        return
    say(f"Dataset {added.id}: {added.name} version {added.version}, {added.rows} pairs.")
    for remark in added.remarks:
        warn(remark)
    for entry in left_out[:20]:
        warn(f"Row {entry['row']} left out: {entry['reason']}")
    if added.left_out_count > 20:
        warn(f"... and {added.left_out_count - 20} more; `hypo datasets show {added.id}` counts them.")


def _mapping(columns: str | None) -> ColumnMapping | None:
    if columns is None:
        return None
    named = dict(part.partition("=")[::2] for part in columns.split(","))
    if not {"chosen", "rejected"} <= set(named) <= {"prompt", "chosen", "rejected"}:
        raise InvalidInput("--columns must be prompt=COLUMN,chosen=COLUMN,rejected=COLUMN.", field="columns")
    return ColumnMapping(named.get("prompt"), named["chosen"], named["rejected"])


@cli.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most datasets to list.")] = 1000,
    as_json: JsonFlag = False,
) -> None:
    """List datasets, newest first."""
    with read_session() as session:
        views = [dataset_view(dataset) for dataset in datasets.find(session=session, limit=limit)]
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
            {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
            for pair in datasets.page_of_pairs(found.id, session=session, limit=3)
        ]
    if as_json:
        print_json(view)
        return
    for key in ("name", "version", "rows", "splits", "left_out_count", "format", "source", "sha256"):
        say(f"{key:<15} {view[key]}")
    for entry in view["left_out"][:20]:
        warn(f"Row {entry['row']} left out: {entry['reason']}")
    for pair in view["first"]:
        say(f"\nprompt    {pair['prompt']}\nchosen    {pair['chosen']}\nrejected  {pair['rejected']}")
