"""`hypo labels`: list and export votes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from app.cli.output import JsonFlag, print_json, print_table, say
from app.errors import InvalidInput
from app.exports.labels import LabelFormat, export_labels
from app.exports.writers import FileType
from app.store import labels
from app.store.db import read_session
from app.views import vote_view

cli = typer.Typer(help="Votes on comparisons.", no_args_is_help=True)


@cli.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most votes to list.")] = 200,
    as_json: JsonFlag = False,
) -> None:
    """List votes, newest first."""
    with read_session() as session:
        views = [vote_view(vote) for vote in labels.votes(session=session, limit=limit)]
    if as_json:
        print_json(views)
        return
    print_table(
        ["id", "user", "choice", "best", "worst", "blind", "question"],
        (
            [view[key] for key in ("id", "user", "choice", "best", "worst", "blind")]
            + [" ".join(view["question"].split())[:60]]
            for view in views
        ),
        empty="No votes yet; ask several models on the compare page and vote.",
    )


@cli.command("export")
def export_command(
    output: Annotated[Path, typer.Option(help="The file to write.")],
    format: Annotated[LabelFormat, typer.Option(help="trl: pairs for training; raw: everything.")] = (
        LabelFormat.TRL
    ),
    file_type: Annotated[
        FileType | None, typer.Option(help="jsonl, csv or parquet; by the file's ending.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Export votes to a file; what is left out is counted."""
    kind = file_type or _by_ending(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".hypo-export-", dir=output.parent) as scratch:
        exported = export_labels(format, kind, folder=Path(scratch))
        exported.path.replace(output)
    if as_json:
        print_json({"output": str(output), "rows": exported.rows, "left_out": exported.left_out})
        return
    say(f"{exported.rows} rows written to {output}.")
    for reason, count in exported.left_out.items():
        if count:
            say(f"{count} votes left out: {reason.replace('_', ' ')}.")


def _by_ending(output: Path) -> FileType:
    try:
        return FileType(output.suffix.lstrip(".").lower())
    except ValueError:
        raise InvalidInput(
            f"{output.name} does not end in .jsonl, .csv or .parquet; say --file-type.", field="file_type"
        ) from None
