"""Options of `hypo campaigns`."""

from pathlib import Path
from typing import Annotated

import typer

from app.errors import InvalidInput
from app.store.enums import CampaignForm, CampaignOrder

CampaignId = Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The campaign's number.")]
DatasetOption = Annotated[
    str | None, typer.Option(help="Ask held-out prompts of a dataset: NAME, NAME@VERSION or id.")
]
CountOption = Annotated[int, typer.Option(min=1, max=1000, help="How many prompts of the dataset are asked.")]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        help="A file of prompts: text with one prompt a line, or JSON, JSONL or CSV with a column "
        "prompt, question or messages."
    ),
]
RunOption = Annotated[list[int] | None, typer.Option("--run", help="A run that answers; may be repeated.")]
CheckpointOption = Annotated[
    list[int] | None,
    typer.Option("--checkpoint", help="An earlier checkpoint that answers; may be repeated."),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(help="A configured endpoint that answers; may be repeated. `hypo endpoints` lists them."),
]
AnswersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--answers",
        metavar="[NAME=]FILE",
        help="A contender whose answers are in a file with the columns prompt and answer; may be repeated. "
        "Without other prompts, those of the first file are asked.",
    ),
]
OnlyAnsweredOption = Annotated[
    bool, typer.Option("--only-answered", help="Leave out prompts that the files do not answer.")
]
FormOption = Annotated[
    CampaignForm,
    typer.Option(help="pairs: two answers at a time; best_worst: the best and the worst of all."),
]
OrderOption = Annotated[
    CampaignOrder,
    typer.Option(help="informative: the pair that a vote tells most about comes next; or in_order."),
]
TopPOption = Annotated[
    float, typer.Option(help="Sample from the likeliest tokens that reach this probability.")
]
GuidelinesOption = Annotated[
    Path | None, typer.Option(help="A Markdown file that tells voters what to look for.")
]


def read_guidelines(path: Path) -> str:
    """The text of a file of guidelines.

    Raises:
        InvalidInput: it cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.", field="guidelines") from error
