"""`hypo cache`: list and clear the reference log-probabilities that runs share."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import JsonFlag, print_json, print_table, say
from app.settings import get_settings
from hypo_engine.files.reference_cache import CacheFile, list_files, remove_files
from hypo_engine.memory.estimate import format_bytes

cli = typer.Typer(help="Cached reference log-probabilities, shared by runs.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Option(help="A folder other than the app's, such as the engine's cache_dir.")
]


@cli.command("list")
def list_command(folder: Folder = None, as_json: JsonFlag = False) -> None:
    """List the files, last used first: base model, pairs, share computed, size, last use."""
    files = list_files(folder or get_settings().cache_dir)
    if as_json:
        print_json([_view(file) for file in files])
        return
    print_table(
        ["file", "model", "pairs", "filled", "size", "last used", "state"],
        (
            (
                file.name,
                file.model or "unknown",
                file.pairs or "damaged",
                _share(file),
                format_bytes(file.bytes),
                file.last_used.strftime("%Y-%m-%d %H:%M"),
                "in use" if file.in_use else "",
            )
            for file in files
        ),
        empty="No cached reference log-probabilities yet; the first run computes them.",
    )
    if files:
        most = get_settings().reference_cache_max_bytes
        say(f"{format_bytes(sum(file.bytes for file in files))} of at most {format_bytes(most)}.")


@cli.command("clear")
def clear_command(
    older_than: Annotated[
        float | None,
        typer.Option(
            min=0, max=36_500, metavar="DAYS", help="Only files that no run has used for this many days."
        ),
    ] = None,
    folder: Folder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete the files that no run has open; the next run on the same data computes them again."""
    where = folder or get_settings().cache_dir
    since = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
    wanted = [file for file in list_files(where) if since is None or file.last_used < since]
    if wanted and not yes and not as_json:
        size = format_bytes(sum(file.bytes for file in wanted))
        typer.confirm(f"Delete {_count(len(wanted))} ({size})?", abort=True, err=True)
    gone, kept = remove_files(where, unused_since=since)
    if as_json:
        print_json({"removed": [_view(file) for file in gone], "kept_in_use": kept})
        return
    in_use = f" {_count(kept)} kept, because a run has it open." if kept else ""
    size = format_bytes(sum(file.bytes for file in gone))
    say((f"Deleted {_count(len(gone))}, {size}." if gone else "There was nothing to delete.") + in_use)


def _view(file: CacheFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "model": file.model,
        "pairs": file.pairs,
        "filled": file.filled,
        "bytes": file.bytes,
        "last_used": file.last_used.isoformat(),
        "in_use": file.in_use,
        "path": str(file.path),
    }


def _share(file: CacheFile) -> str:
    return "?" if file.filled is None or not file.pairs else f"{file.filled / file.pairs:.0%}"


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"
