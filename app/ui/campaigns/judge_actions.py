"""Handlers of the judges' section on a campaign's page: start, stop, continue."""

from functools import partial

import gradio as gr

from app import judges
from app.errors import AppError
from app.i18n import _
from app.ui import query, widgets
from app.ui.campaigns import one
from app.ui.campaigns.address import campaign_id
from app.ui.judging.actions import started
from app.ui.updates import Updates


def start(
    endpoint: str | None,
    scorer: str | None,
    template: str | None,
    seed: float | None,
    request: gr.Request,
) -> Updates:
    """Start a judge; on an error the form stays open with its values."""
    begin = partial(judges.start, campaign_id(request), user=query.username(request))
    done = started(begin, endpoint, scorer, template, seed)
    return done if "judge_message" in done else {**one.show("", request), **done}


def stop(request: gr.Request) -> Updates:
    """Stop the campaign's judges."""
    try:
        for judge_id in _of_campaign(request):
            judges.stop(judge_id, user=query.username(request))
    except AppError as error:
        return one.failed(error)
    return {"message": gr.update(visible=False), **one.show("", request)}


def resume(request: gr.Request) -> Updates:
    """Continue the campaign's judges; say so if nothing is left."""
    user = query.username(request)
    try:
        queued = sum(judges.resume(judge_id, user=user) for judge_id in _of_campaign(request))
    except AppError as error:
        return one.failed(error)
    said = _("Nothing is left to judge: all pairs of different answers have a verdict.")
    message = gr.update(value="" if queued else widgets.notice(said), visible=not queued)
    return {"message": message, **one.show("", request)}


def _of_campaign(request: gr.Request) -> list[int]:
    return [report.judge.id for report in judges.reports(campaign_id(request))]
