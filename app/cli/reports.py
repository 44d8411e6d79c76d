"""`hypo reports`: a question, and what runs and votes say about it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from app.cli.output import BeforeId, JsonFlag, print_json, print_table, say, say_more
from app.errors import InvalidInput
from app.reports import changing, reading
from app.reports.view import list_view, report_view
from app.store import reports
from app.store.db import read_session

cli = typer.Typer(help="Reports of experiments.", no_args_is_help=True)

ReportId = Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The report's number.")]
NotesOption = Annotated[
    Path | None, typer.Option(help="A file with notes in Markdown.", exists=True, dir_okay=False)
]


@cli.command("create")
def create_command(
    run: Annotated[
        list[int] | None, typer.Option("--run", min=1, help="A run of the report; may be repeated.")
    ] = None,
    campaign: Annotated[
        list[int] | None,
        typer.Option("--campaign", min=1, help="A campaign of the report, with its runs; may be repeated."),
    ] = None,
    question: Annotated[str, typer.Option(help="What the report answers; generated if empty.")] = "",
    notes: NotesOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a report of runs and campaigns."""
    report_id = changing.create(run or [], campaign or [], question=question, notes=_read(notes) or "")
    _show(report_id, as_json=as_json)


@cli.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of reports to list.")] = 100,
    before: BeforeId = None,
    as_json: JsonFlag = False,
) -> None:
    """List reports, newest first; --before continues where a list ended."""
    with read_session() as session:
        found = reports.find(session=session, limit=limit + 1, before=before)
        views = list_view(found[:limit], session=session)
    if as_json:
        print_json(views)
        return
    print_table(
        ["id", "question", "runs", "campaigns", "owner"],
        (
            (view["id"], view["question"], _ids(view["runs"]), _ids(view["campaigns"]), view["owner"])
            for view in views
        ),
        empty="No reports yet; `hypo reports create --help` says how to make one.",
    )
    say_more(views, more=len(found) > limit)


@cli.command("show")
def show_command(report: ReportId, as_json: JsonFlag = False) -> None:
    """Show a report with the numbers of this moment."""
    _show(report, as_json=as_json)


@cli.command("edit")
def edit_command(
    report: ReportId,
    question: Annotated[str | None, typer.Option(help="The new question.")] = None,
    notes: NotesOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Change the question or the notes of a report."""
    if question is None and notes is None:
        raise InvalidInput("Give --question or --notes.", field="question")
    changing.edit(report, question=question, notes=_read(notes))
    _show(report, as_json=as_json)


@cli.command("delete")
def delete_command(report: ReportId) -> None:
    """Delete a report; its runs, campaigns and votes stay."""
    changing.delete(report)
    say(f"Report {report} is deleted.")


@cli.command("export")
def export_command(
    report: ReportId,
    output: Annotated[Path, typer.Option(help="The file to write: NAME.html, NAME.json or NAME.zip.")],
    as_json: JsonFlag = False,
) -> None:
    """Export a report: one HTML file with everything in it, its numbers, or a zip with the votes.

    Names that you may not see yet are left out.
    """
    from app.ui.report import files  # loads the pages, which takes a second

    try:
        kind = files.ReportFile(output.suffix.lstrip(".").lower())
    except ValueError:
        raise InvalidInput(f"{output.name} does not end in .html, .json or .zip.", field="output") from None
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".hypo-report-", dir=output.parent) as scratch:
        files.write(report, kind, Path(scratch)).replace(output)
    if as_json:
        print_json({"output": str(output), "bytes": output.stat().st_size})
    else:
        say(f"Report {report} is written to {output}.")


def _read(notes: Path | None) -> str | None:
    if notes is None:
        return None
    try:
        return notes.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{notes} cannot be read: {error}.", field="notes") from error


def _ids(ids: list[int]) -> str:
    return ", ".join(map(str, ids))


def _show(report_id: int, *, as_json: bool) -> None:
    view = report_view(reading.read(report_id))
    if as_json:
        print_json(view)
        return
    say(f"Report {report_id}: {view['question']}")
    columns = view["columns"]
    print_table(
        ["run", "name", "method", "state", *(column["title"] for column in columns)],
        (
            (
                run["id"],
                run["name"],
                run["method"],
                "deleted" if run["deleted"] else run["status"],
                *(_figure(run["figures"].get(column["key"]), column["unit"]) for column in columns),
            )
            for run in view["runs"]
        ),
        empty="The report has no runs.",
    )
    for column in columns:
        say(f"{column['title']}: {column['does_not_show']}")
    for campaign in view["campaigns"]:
        hidden = " Its names are still hidden from you." if campaign["names_hidden"] else ""
        say(f"Campaign {campaign['id']}: {campaign['name']}, {campaign['progress']['votes']} votes.{hidden}")


def _figure(figure: dict[str, Any] | None, unit: str) -> str:
    """A value with its interval and its count, as in `91% (62 to 98%), n = 11`."""
    if figure is None:
        return "–"
    scale, sign = (100, "%") if unit == "share" else (1, "")
    form = ".0f" if unit == "share" else ".4g"
    said = f"{scale * figure['value']:{form}}{sign}"
    if figure["low"] is not None:
        said += f" ({scale * figure['low']:{form}} to {scale * figure['high']:{form}}{sign})"
    return said if figure["count"] is None else f"{said}, n = {figure['count']}"
