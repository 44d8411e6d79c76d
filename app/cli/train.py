"""`hypo train`: run the engine alone. The engine replaces this process, which does not load torch."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import JsonFlag
from app.errors import Refused


def train(
    config: Annotated[Path, typer.Argument(help="YAML: TrainConfig fields, `dataset` and `output_dir`.")],
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Run a few steps on the longest pairs, keep nothing, and report memory and time.",
        ),
    ] = False,
    insist: Annotated[bool, typer.Option("--insist", help="Start even if memory seems too small.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Train with the engine alone: no database, no queue."""
    if not config.is_file():
        raise Refused(f"There is no file {config}; write one from the launch page's YAML.")
    flags = {"--dry-run": dry_run, "--insist": insist, "--json": as_json}
    command = [sys.executable, "-m", "hypo_engine", str(config)]
    command += [flag for flag, given in flags.items() if given]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # so signals and the exit status are those of the engine
