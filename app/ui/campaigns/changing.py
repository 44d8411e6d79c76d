"""Actions on one campaign: pause, close, edit, extend, show the names."""

from typing import Any

import gradio as gr

from app import campaigns
from app.errors import AppError
from app.i18n import _, _n, in_language
from app.settings import get_settings
from app.store.aspects import USUAL
from app.store.enums import CampaignStatus
from app.ui import confirmation, query, widgets
from app.ui.campaigns import form, one, source
from app.ui.campaigns.address import campaign_id
from app.ui.campaigns.source import GivenPrompts
from app.ui.report import opening
from app.ui.updates import Updates


def pause(request: gr.Request) -> Updates:
    return _set_status(CampaignStatus.PAUSED, request)


def resume(request: gr.Request) -> Updates:
    return _set_status(CampaignStatus.OPEN, request)


def _set_status(status: CampaignStatus, request: gr.Request) -> Updates:
    try:
        campaigns.set_status(campaign_id(request), status, user=query.username(request))
    except AppError as error:
        return one.failed(error)
    return _done("", request)


def ask_close(request: gr.Request) -> Updates:
    """Ask for confirmation before closing the campaign."""
    overview = campaigns.overview(campaign_id(request))
    unwritten = overview.progress.unwritten
    name = overview.campaign.name
    if unwritten:
        sentence = _n(
            "Close “{name}” for good? Nobody can vote in it any more. {n} answer that is not written is "
            "stopped. Answers and votes stay.",
            "Close “{name}” for good? Nobody can vote in it any more. {n} answers that are not written are "
            "stopped. Answers and votes stay.",
            unwritten,
            name=name,
        )
    else:
        sentence = _(
            "Close “{name}” for good? Nobody can vote in it any more. Answers and votes stay.", name=name
        )
    return confirmation.ask(sentence, yes=_("Yes, close it"), wanted="close")


def ask_names(request: gr.Request) -> Updates:
    """Say what it costs to see the names, before they are shown."""
    sentence = _(
        "Show who wrote which answer, and the votes? You cannot vote in this campaign afterwards. "
        "Your votes so far stay blind, and others go on voting blind."
    )
    return confirmation.ask(sentence, yes=_("Yes, show them"), wanted="names")


def confirmed(wanted: str, request: gr.Request) -> Updates:
    """Perform the confirmed action."""
    user = query.username(request)
    try:
        if wanted == "close":
            campaigns.set_status(campaign_id(request), CampaignStatus.CLOSED, user=user)
        elif wanted == "names":
            campaigns.show_names(campaign_id(request), user=user)
    except AppError as error:
        return {**one.failed(error), "confirm": gr.update(visible=False), "wanted": ""}
    return {**_done("", request), "confirm": gr.update(visible=False), "wanted": ""}


def report(request: gr.Request) -> Updates:
    """Create a report of the campaign and its runs, and go to it."""
    said = opening.create((), [campaign_id(request)], query.username(request))
    return {"message": gr.update(value=said, visible=True)}


def open_edit(request: gr.Request) -> Updates:
    """Show the panel that edits the campaign, and close the other one."""
    campaign = campaigns.overview(campaign_id(request)).campaign
    logins = [name for name, _hash in get_settings().logins()]
    return {
        "editing": gr.update(visible=True),
        "extending": gr.update(visible=False),
        "edit_name": campaign.name,
        "edit_guidelines": campaign.guidelines,
        "edit_reason": campaign.ask_reason,
        "edit_voters": gr.update(
            choices=logins,
            value=[name for name in campaign.voters if name in logins],
            visible=bool(logins),
        ),
        "edit_aspects": gr.update(
            choices=form.aspect_choices([*USUAL, *campaign.aspects]), value=list(campaign.aspects)
        ),
        "edit_adjudicators": gr.update(
            choices=logins,
            value=[name for name in campaign.adjudicators if name in logins],
            visible=bool(logins),
        ),
        "edit_repeats": round(100 * campaign.repeat_share, 2),
        "edit_checks": round(100 * campaign.check_share, 2),
        "edit_message": gr.update(visible=False),
    }


def save_edit(
    name: str,
    guidelines: str,
    ask_reason: bool,
    voters: list[str] | None,
    aspects: list[str] | None,
    adjudicators: list[str] | None,
    repeats: float | None,
    checks: float | None,
    request: gr.Request,
) -> Updates:
    """Save the edited campaign; on an error the panel stays open with its values.

    Args:
        repeats: in percent, as `checks`.
    """
    problems = form.share_error("repeat_share", repeats), form.share_error("check_share", checks)
    if any(problems):
        return {"edit_message": _below(" ".join(filter(None, problems)))}
    logins = get_settings().logins()
    try:
        campaigns.edit(
            campaign_id(request),
            user=query.username(request),
            name=name or "",
            guidelines=guidelines or "",
            ask_reason=bool(ask_reason),
            voters=[str(voter) for voter in voters or []] if logins else None,
            aspects=[str(name) for name in aspects or []],
            adjudicators=[str(name) for name in adjudicators or []] if logins else None,
            repeat_share=(repeats or 0) / 100,
            check_share=(checks or 0) / 100,
        )
    except AppError as error:
        return {"edit_message": _below(error)}
    return {**_done(_("Saved."), request), "editing": gr.update(visible=False)}


def open_extend(request: gr.Request) -> Updates:
    """Show the panel that asks for more votes or prompts, and close the other one."""
    campaign = campaigns.overview(campaign_id(request)).campaign
    offered = source.offered_datasets()
    return {
        "extending": gr.update(visible=True),
        "editing": gr.update(visible=False),
        "more_votes": campaign.votes_wanted,
        "dataset": gr.update(choices=offered, value=next((identity for _name, identity in offered), None)),
        "pasted": "",
        "file": None,
        "votes_message": gr.update(visible=False),
        "prompts_message": gr.update(visible=False),
    }


def save_votes(votes: float | None, request: gr.Request) -> Updates:
    """Change the number of votes on each comparison."""
    try:
        campaigns.edit(campaign_id(request), user=query.username(request), votes_wanted=int(votes or 0))
    except AppError as error:
        message = in_language(str(error)).replace("votes_wanted", _("Votes on each comparison"), 1)
        return {"votes_message": gr.update(value=widgets.field_error(message), visible=True)}
    return {**_done(_("Saved."), request), "extending": gr.update(visible=False)}


def add_prompts(request: gr.Request, *values: Any) -> Updates:
    """Add prompts; on an error the panel stays open with its values."""
    try:
        choices = campaigns.overview(campaign_id(request)).choices
        more = GivenPrompts(*values).read(choices)
        campaigns.add_prompts(campaign_id(request), more, user=query.username(request))
    except AppError as error:
        return {"prompts_message": _below(error)}
    said = _n("{n} prompt is added.", "{n} prompts are added.", len(more))
    return {**_done(said, request), "extending": gr.update(visible=False)}


def closed() -> tuple[Any, Any]:
    """Hide both panels."""
    return gr.update(visible=False), gr.update(visible=False)


def _below(error: Exception | str) -> Any:
    return gr.update(value=widgets.field_error(str(error)), visible=True)


def _done(said: str, request: gr.Request) -> Updates:
    message = gr.update(value=widgets.notice(said, "good") if said else "", visible=bool(said))
    return {"message": message, **one.show("", request)}
