"""Output shared by all commands: `--json`, tables, and errors in one sentence on stderr."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.errors import Refused
from app.presence import worker_missing

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout and nothing else.")]

BeforeId = Annotated[
    int | None, typer.Option(min=1, max=2**31 - 1, help="Only entries with a smaller id than this.")
]

PIPE_WIDTH = 240
"""Width of a table that is not printed to a terminal, so that nothing is truncated."""

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

stdout = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


NO_ANSWER: Final = "\u2014 no answer"
"""In place of the answer that a row with one answer lacks."""


def print_json(value: Any) -> None:
    """Print a command's single JSON value."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows as a table, or the sentence `empty` without rows."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else plain(cell) for cell in row))
    if table.row_count:
        stdout.print(table)
    else:
        stdout.print(empty)


def plain(text: object) -> Text:
    """Text exactly as written: without Rich styles, emoji codes or terminal control characters."""
    return Text(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n")))


def warn(message: str) -> None:
    """Print a sentence on stderr."""
    stderr.print(plain(message), style="yellow")


def say(message: str) -> None:
    """Print a sentence on stdout."""
    stdout.print(plain(message))


def counted(number: int, noun: str) -> str:
    """`1 vote`, `1,200 votes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def say_more(views: Sequence[Mapping[str, Any]], *, more: bool) -> None:
    """Print on stderr how to continue a list, so that programs read only the list on stdout."""
    if more:
        stderr.print(f"There are more: --before {views[-1]['id']} lists them.", markup=False)


def require_worker(queue: str) -> None:
    """Refuse to wait if no worker consumes the queue.

    Raises:
        Refused: with instructions to start one.
    """
    missing = worker_missing(queue)
    if missing:
        raise Refused(missing)
