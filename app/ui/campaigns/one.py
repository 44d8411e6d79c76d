"""Handlers that show one campaign, whose id is in the page's address: `campaigns?campaign=3`."""

from typing import Any

import gradio as gr

from app import campaigns, judges
from app.campaigns import Overview
from app.errors import NotFound
from app.i18n import _
from app.store import names
from app.store.campaigns import may_change
from app.store.db import read_session
from app.store.enums import CampaignStatus
from app.ui import events, query, widgets
from app.ui.campaigns import disagreements, evidence, form, next_round, view
from app.ui.campaigns import judges as judges_view
from app.ui.campaigns.address import campaign_id
from app.ui.updates import Updates

BUTTONS = ("pause", "resume", "extend", "edit", "close", "names", "report")


def show(
    seen: str, request: gr.Request | None, aspect: str | None = None, *, adjudicated: bool = False
) -> Updates:
    """The campaign, if it differs from what is already shown.

    Args:
        aspect: the aspect by which the contenders are ranked; by default which answer is better.
        adjudicated: whether adjudicated verdicts take the place of the votes on their comparisons.
    """
    try:
        overview = campaigns.overview(campaign_id(request))
    except NotFound as error:
        return {"header": view.missing(str(error)), "one": gr.update(visible=False), **_still()}
    user = query.username(request)
    with read_session() as session:
        told = names.seen_in_campaign(overview.campaign.id, user, session=session)
    pieces = {
        "header": view.header(overview, votable=_may_vote(overview, user) and not told),
        "progress": view.progress_section(overview, told=told),
        "results": evidence.ranking_section(overview.campaign, user, aspect, adjudicated=adjudicated)
        if told
        else "",
        "votes": view.votes_section(overview),
        "quality": evidence.quality_section(overview.campaign.id, user),
        "setup": view.setup_section(overview),
    }
    own = may_change(overview.owner, user)
    reports = judges.reports(overview.campaign.id)
    judging = judges_view.show(reports, user, own=own, told=told)
    following = next_round.show(overview.campaign.id, user, adjudicated=adjudicated)
    deciding = disagreements.show(overview, user, told=told)
    sections = [*pieces.values(), *judging.values(), *following.values(), *deciding.values()]
    now = "".join(map(str, [*sections, told]))
    if now == seen:
        return {}
    return {
        **pieces,
        **judging,
        **following,
        **deciding,
        "aspect": _ranked_by(overview, aspect, told=told),
        "one": gr.update(visible=True),
        "seen": now,
        "timer": _pace(overview, judging=any(report.waiting for report in reports)),
        **_actions(overview, own=own, told=told),
    }


def _ranked_by(overview: Overview, aspect: str | None, *, told: bool) -> Any:
    """The choice of what the contenders are ranked by, for a campaign with aspects."""
    names = overview.campaign.aspects
    choices = [(_("Better answer"), ""), *form.aspect_choices(names)]
    value = aspect if aspect in names else ""
    return gr.update(choices=choices, value=value, visible=told and bool(names))


def _may_vote(overview: Overview, user: str) -> bool:
    campaign = overview.campaign
    return campaign.status is not CampaignStatus.CLOSED and (not campaign.voters or user in campaign.voters)


def _actions(overview: Overview, *, own: bool, told: bool) -> Updates:
    status = overview.campaign.status
    open_ones = own and status is not CampaignStatus.CLOSED
    visible = {
        "pause": own and status is CampaignStatus.OPEN,
        "resume": own and status is CampaignStatus.PAUSED,
        "extend": open_ones,
        "edit": own,
        "close": open_ones,
        "names": not told,
        "report": True,
    }
    return {name: gr.update(visible=visible[name]) for name in BUTTONS}


def _pace(overview: Overview, *, judging: bool) -> gr.Timer:
    """Look every 2 s while workers write answers or judge, every 10 s while people may vote, else not."""
    busy = judging or overview.progress.unwritten > 0
    if overview.campaign.status is not CampaignStatus.OPEN and not busy:
        return gr.Timer(active=False)
    return events.pace(busy=busy)


def _still() -> dict[str, Any]:
    return {"timer": gr.Timer(active=False), "seen": ""}


def failed(error: Exception) -> Updates:
    """The message of a refused action."""
    return {"message": gr.update(value=widgets.error_banner(str(error)), visible=True)}
