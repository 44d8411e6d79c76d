"""`hypo campaigns disagreements` and `adjudicate`: decide the comparisons on which voters differ."""

from dataclasses import asdict
from typing import Annotated

import typer

from app import adjudication
from app.adjudication import Case, Said
from app.cli.output import JsonFlag, print_json, print_table, say
from app.errors import InvalidInput
from app.store.judging import LETTERS
from app.text import MAX_ID

CampaignId = Annotated[int, typer.Argument(min=1, max=MAX_ID, help="The campaign's number.")]


def disagreements_command(campaign: CampaignId, as_json: JsonFlag = False) -> None:
    """List the comparisons on which people differ; those that nobody has decided come first."""
    found = adjudication.queue(campaign)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ["comparison", "votes", "decided by", "question"],
        ((one.number, one.votes, one.author or None, " ".join(one.question.split())[:60]) for one in found),
        empty="People differ on no comparison of this campaign.",
    )


def adjudicate_command(
    campaign: CampaignId,
    number: Annotated[int, typer.Argument(min=1, max=MAX_ID, help="The comparison's place in the campaign.")],
    choice: Annotated[
        str, typer.Argument(help="A to D for the best answer, tie, or 'both bad'; none shows the comparison.")
    ] = "",
    worst: Annotated[str, typer.Option(help="The worst answer; required with more than two answers.")] = "",
    reason: Annotated[str, typer.Option(help="Your reason, as text.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take back the verdict.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a comparison on which people differ, with their votes, or decide it."""
    if undo and choice:
        raise InvalidInput("Give either a choice or --undo.", field="choice")
    if undo:
        adjudication.undo(campaign, number)
    elif choice:
        adjudication.decide(campaign, number, choice, worst=worst, reason=reason)
    found = adjudication.case(campaign, number)
    if as_json:
        print_json(asdict(found))
    else:
        _say(found)


def _say(found: Case) -> None:
    say(f"Comparison {found.number}: {found.question}")
    for letter, text in zip(LETTERS, found.answers, strict=False):
        say(f"\n{letter}: {text}")
    say("\nVotes:")
    for vote in found.votes:
        say(f"  {_words(vote)}")
    if found.verdict is None:
        say("Nobody has decided yet.")
    else:
        say(f"Decided by {found.author}: {_words(found.verdict)}")


def _words(said: Said) -> str:
    worst = f", {said.worst} is worst" if said.worst else ""
    return f"{said.choice}{worst}" + (f" ({said.reason})" if said.reason else "")
