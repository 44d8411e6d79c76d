"""`hypo board`: the ranking of all models."""

import sys
from typing import Annotated

import typer

from app import board_csv
from app.board_csv import BoardTable
from app.cli.output import JsonFlag, counted, print_json, print_table, say
from app.errors import InvalidInput
from app.evidence import FEWEST_PROMPTS, WinRate
from app.ranking import Ranking, read_ranking
from app.store import campaigns, users
from app.store.db import read_session
from app.views import ranking_view

COLUMNS = ("rank", "id", "model", "strength", "95% interval", "votes", "win rate", "at equal length")


def board(
    reference: Annotated[
        int | None,
        typer.Option(min=1, max=2**31 - 1, help="Id of the model for the win rates; else the base model."),
    ] = None,
    campaign: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Count only the votes of this campaign.")
    ] = None,
    aspect: Annotated[
        str | None, typer.Option(help="Rank by an aspect of the campaign, such as helpful.")
    ] = None,
    adjudicated: Annotated[
        bool, typer.Option("--adjudicated", help="Count adjudicated verdicts in place of the votes there.")
    ] = False,
    as_csv: Annotated[
        BoardTable | None,
        typer.Option(
            "--csv",
            help="Print a table as CSV with exact values: the ranking, each cell of the win-rate matrix, or "
            "the win rates against a model.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Rank all models by the votes, with 95% intervals; votes that you may still judge blind are left out."""
    if as_csv and as_json:
        raise InvalidInput("Give either --csv or --json.", field="csv")
    if aspect and campaign is None:
        raise InvalidInput("An aspect belongs to a campaign; name it with --campaign.", field="aspect")
    with read_session() as session:
        if campaign is not None:
            aspect = campaigns.checked_aspect(campaigns.get(campaign, session=session), aspect)
        ranking = read_ranking(
            session=session,
            viewer=users.LOCAL,
            reference=reference,
            campaign_id=campaign,
            aspect=aspect or None,
            adjudicated=adjudicated,
        )
    if as_json:
        print_json(ranking_view(ranking))
    elif as_csv:
        for piece in board_csv.pieces(ranking, as_csv):
            sys.stdout.write(piece.decode())
    else:
        print_board(ranking)


def print_board(ranking: Ranking) -> None:
    """Print a ranking as a table, and what it leaves open."""
    rows = [_row(ranking, at) for at in [*ranking.order, *ranking.unrated]]
    print_table(COLUMNS, rows, empty="No votes compare two models yet; ask several models and vote.")
    for sentence in _sentences(ranking):
        say(sentence)


def _row(ranking: Ranking, at: int) -> list[object]:
    rating, rate = ranking.board.ratings[at], ranking.board.against[at]
    return [
        ranking.rank(at),
        ranking.ids[at],
        ranking.names[at],
        None if rating.strength is None else f"{rating.strength:+.2f}",
        None if rating.low is None else f"{rating.low:+.2f} to {rating.high:+.2f}",
        rating.games,
        None if rate is None else _percent(rate.rate, rate.low, rate.high),
        None if rate is None else _controlled(rate),
    ]


def _controlled(rate: WinRate) -> str:
    if rate.controlled is None:
        return ""
    return _percent(rate.controlled, rate.controlled_low, rate.controlled_high)


def _percent(share: float, low: float | None, high: float | None) -> str:
    bounds = "" if low is None or high is None else f" ({100 * low:.0f} to {100 * high:.0f}%)"
    return f"{100 * share:.0f}%{bounds}"


def _sentences(ranking: Ranking) -> list[str]:
    """What the table leaves open."""
    names, said = ranking.names, []
    if ranking.board.reference is not None:
        said.append(f"Win rates are against {names[ranking.board.reference]}.")
    if ranking.unrated:
        left_out = ", ".join(names[at] for at in ranking.unrated)
        said.append(
            f"No votes connect {left_out} with the other models, so their strengths cannot be compared."
        )
    if ranking.order and not ranking.has_intervals:
        said.append(f"No intervals yet: they need votes on at least {FEWEST_PROMPTS} prompts.")
    said += [
        f"About {counted(pair.more_votes, 'more vote')} would tell {names[pair.stronger]} "
        f"from {names[pair.weaker]}."
        for pair in ranking.neighbours
        if pair.more_votes
    ]
    if ranking.hidden:
        said.append(
            f"Left out, because you may still judge their answers blind: {counted(ranking.hidden, 'vote')}."
        )
    return said
