"""`hypo datasets score`, `scorings`, `pairs`, `leaks`, `leave-out`: a dataset's pairs, under models too."""

import re
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from app import leaks, leaving_out, pair_scoring
from app.cli.output import NO_ANSWER, JsonFlag, print_json, print_table, say, warn
from app.errors import InvalidInput
from app.leaving_out import NewVersion
from app.presence import worker_missing
from app.scored_pair_view import pair_view, scoring_view
from app.store import datasets, pair_scorings
from app.store.db import read_session
from app.store.enums import PairScoringStatus, Split
from app.store.models import PairScoring
from app.store.scored_pairs import Filter, Show

DatasetName = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or id.")]
Scorings = Annotated[
    list[int] | None,
    typer.Option(
        "--scoring", min=1, max=2**31 - 1, help="A scoring; give it twice for two. Default: the two newest."
    ),
]
Search = Annotated[str, typer.Option(help="Only pairs that contain this.")]
Side = Annotated[Split | None, typer.Option(help="Only one side of the split.")]

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


def add_commands(cli: typer.Typer) -> None:
    """Add the commands to `hypo datasets`."""
    cli.command("score")(score_command)
    cli.command("scorings")(scorings_command)
    cli.command("pairs")(pairs_command)
    cli.command("leaks")(leaks_command)
    cli.command("leave-out")(leave_out_command)


def score_command(
    dataset: DatasetName,
    run: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="The run whose checkpoint scores the pairs.")
    ],
    step: Annotated[
        int | None, typer.Option(min=0, help="The checkpoint's step; the last one by default.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it; the scores so far stay.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Score the pairs under a run's checkpoint: a worker does it. Again, it continues what was stopped."""
    with read_session() as session:
        dataset_id = datasets.resolve(dataset, session=session).id
    if cancel:
        scoring_id = _waiting(dataset_id, run, step)
        pair_scoring.cancel(scoring_id)
    else:
        scoring_id = pair_scoring.start(dataset_id, run, step=step)
    with read_session() as session:
        scoring = pair_scorings.get(scoring_id, session=session)
    if as_json:
        print_json(scoring_view(scoring))
        return
    say(f"Scoring {scoring.id} is {scoring.status.value}: {scoring.done:,} of {scoring.total:,} pairs.")
    if scoring.status is PairScoringStatus.QUEUED and (missing := worker_missing("generate")):
        warn(missing)


def _waiting(dataset_id: int, run: int, step: int | None) -> int:
    with read_session() as session:
        for scoring in pair_scoring.of_dataset(dataset_id, session=session):
            if scoring.run_id == run and step in (None, scoring.step):
                return scoring.id
    raise InvalidInput(f"run: run {run} scores no pairs of dataset {dataset_id}.", field="run")


def scorings_command(dataset: DatasetName, as_json: JsonFlag = False) -> None:
    """List the models that score a dataset's pairs, with their progress."""
    with read_session() as session:
        found = pair_scoring.of_dataset(datasets.resolve(dataset, session=session).id, session=session)
    if as_json:
        print_json([scoring_view(scoring) for scoring in found])
        return
    print_table(
        ["id", "run", "name", "step", "state", "done", "of", "error"],
        ([s.id, s.run_id, s.run_name, s.step, s.status.value, s.done, s.total, s.error] for s in found),
        empty=f"No model has scored these pairs; `hypo datasets score {dataset} --run NUMBER` does.",
    )


def pairs_command(
    dataset: DatasetName,
    scorings: Scorings = None,
    sort: Annotated[
        Show, typer.Option(help="Which pairs, and their order; mislabelled: all models disagree.")
    ] = Show.ALL,
    split: Side = None,
    search: Search = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of pairs.")] = 50,
    after: Annotated[str, typer.Option(help="The `next` of the previous page.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """List a dataset's pairs with their margins under one or two models."""
    with read_session() as session:
        dataset_id = datasets.resolve(dataset, session=session).id
        wanted = pair_scoring.checked_filter(
            dataset_id, scorings or [], session=session, show=sort, split=split or "", search=search
        )
        page = pair_scoring.page(dataset_id, wanted, session=session, limit=limit, after=after)
    if as_json:
        items = [pair_view(found, page.scorings) for found in page.pairs]
        print_json({"items": items, "next": page.following or None})
        return
    print_table(
        ["row", "side", "prompt", "chosen", "rejected", *(_column(one) for one in page.scorings)],
        (
            [
                found.pair.row,
                found.pair.split.value,
                _clip(found.pair.prompt),
                *(_clip(text or NO_ANSWER) for text in (found.pair.chosen, found.pair.rejected)),
                *("-" if s is None or s.margin is None else f"{s.margin:.3f}" for s in found.scores),
            ]
            for found in page.pairs
        ),
        empty="No pair matches.",
    )
    if page.following:
        warn(f"There are more: --after {page.following} lists them.")


def _column(scoring: PairScoring) -> str:
    return f"margin, {scoring.run_name[:20]}"


def _clip(text: object) -> str:
    line = " ".join((text if isinstance(text, str) else str(text)).split())
    return line if len(line) <= 40 else line[:39] + "…"


Into = Annotated[str, typer.Option(help="The dataset that holds the prompts out; by default the same one.")]


def leaks_command(
    dataset: DatasetName,
    into: Into = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with whole prompts.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the training pairs whose prompts an evaluation uses."""
    with read_session() as session:
        dataset_id = datasets.resolve(dataset, session=session).id
        evaluated_on = datasets.resolve(into, session=session).id if into else dataset_id
        leak = leaks.find_leak(dataset_id, evaluated_on, session=session)
    found = () if leak is None else leak.pairs
    if as_json:
        print_json([asdict(pair) for pair in found])
    elif as_csv:
        for piece in leaks.pieces(leak):
            sys.stdout.write(piece.decode())
    else:
        rows = ([pair.row, leaks.one_line(pair.prompt)] for pair in found)
        print_table(["row", "prompt"], rows, empty="No training pair leaks into the evaluation.")


def leave_out_command(
    dataset: DatasetName,
    rows: Annotated[str, typer.Option(help="Rows of the source, as in 3,7,10-20.")] = "",
    sort: Annotated[
        Show | None, typer.Option(help="Instead of rows: all pairs that `hypo datasets pairs` lists so.")
    ] = None,
    scorings: Scorings = None,
    split: Side = None,
    search: Search = "",
    leaking: Annotated[
        bool,
        typer.Option("--leaks", help="Instead of rows: all pairs that `hypo datasets leaks` lists."),
    ] = False,
    into: Into = "",
    reason: Annotated[str, typer.Option(help="Why, for the account of the new version.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Make the next version of a dataset without some pairs; the old version stays."""
    if bool(rows) + (sort is not None) + leaking != 1:
        raise InvalidInput("Give one of --rows, --sort and --leaks.", field="rows")
    with read_session() as session:
        dataset_id = datasets.resolve(dataset, session=session).id
        evaluated_on = datasets.resolve(into, session=session).id if into else None
        wanted: Filter | None = None
        if sort is not None:
            wanted = pair_scoring.checked_filter(
                dataset_id, scorings or [], session=session, show=sort, split=split or "", search=search
            )
    if leaking:
        made = leaving_out.leave_out_leaks(dataset_id, evaluated_on)
    elif wanted is not None:
        made = leaving_out.leave_out_filtered(dataset_id, wanted)
    else:
        places = leaving_out.positions_of_rows(dataset_id, read_rows(rows))
        made = leaving_out.leave_out(dataset_id, places, reason=reason)
    _say_made(made, as_json=as_json)


def read_rows(text: str) -> list[int]:
    """Rows as in `3,7,10-20`.

    Raises:
        InvalidInput: a part is neither a number nor a range, or there are too many rows.
    """
    rows: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise InvalidInput(f"rows: {part.strip()[:40]!r} is no row; write 3,7,10-20.", field="rows")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first >= leaving_out.MAX_POSITIONS - len(rows):
            raise InvalidInput(
                f"rows: {part.strip()} is no range of at most {leaving_out.MAX_POSITIONS:,} rows.",
                field="rows",
            )
        rows += range(first, last + 1)
    return list(dict.fromkeys(rows))


def _say_made(made: NewVersion, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "id": made.id,
                "name": made.name,
                "version": made.version,
                "rows": made.rows,
                "left_out": made.left_out,
            }
        )
        return
    say(
        f"Dataset {made.id}: {made.name} version {made.version}, {made.rows:,} pairs; "
        f"{made.left_out:,} left out."
    )
