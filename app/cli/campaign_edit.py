"""`hypo campaigns edit`: change who votes and decides, what they read, and the name."""

from pathlib import Path
from typing import Annotated

import typer

from app import campaigns
from app.cli.campaign_options import CampaignId, read_guidelines
from app.cli.output import JsonFlag, print_json, say
from app.errors import InvalidInput
from app.views import campaign_view


def edit_command(
    campaign: CampaignId,
    name: Annotated[str | None, typer.Option(help="Name of the campaign.")] = None,
    guidelines: Annotated[
        Path | None, typer.Option(help="A Markdown file that tells voters what to look for.")
    ] = None,
    ask_reason: Annotated[bool | None, typer.Option(help="Ask voters for a reason.")] = None,
    voter: Annotated[
        list[str] | None,
        typer.Option("--voter", help="Who may vote from now on; may be repeated. An empty name: everybody."),
    ] = None,
    adjudicator: Annotated[
        list[str] | None,
        typer.Option(
            "--adjudicator", help="Who may decide disagreements besides you; may be repeated. Empty: nobody."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Change a campaign's name, guidelines, voters or adjudicators. Votes stay."""
    if all(value is None for value in (name, guidelines, ask_reason, voter, adjudicator)):
        raise InvalidInput("Give --name, --guidelines, --ask-reason, --voter or --adjudicator.", field="name")
    campaigns.edit(
        campaign,
        name=name,
        guidelines=None if guidelines is None else read_guidelines(guidelines),
        ask_reason=ask_reason,
        voters=_people(voter),
        adjudicators=_people(adjudicator),
    )
    if as_json:
        print_json(campaign_view(campaigns.overview(campaign)))
    else:
        say(f"Campaign {campaign} is changed.")


def _people(names: list[str] | None) -> list[str] | None:
    return None if names is None else [name for name in names if name.strip()]
