"""Handlers of the judges' section: open the form, start, stop, continue."""

from typing import Any

import gradio as gr

from app import endpoints, judges
from app.endpoints.judging import TEMPLATE
from app.errors import AppError
from app.ui import query, widgets
from app.ui.campaigns import one
from app.ui.campaigns.address import campaign_id
from app.ui.updates import Updates


def open_form() -> Updates:
    """Show the form with the default question."""
    keys = [*((found.name, found.name) for found in endpoints.configured()), ("A scorer", "")]
    first = keys[0][1]
    return {
        "judge_form": gr.update(visible=True),
        "judge_endpoint": gr.update(choices=keys, value=first),
        **show_fields(first),
        "judge_template": gr.update(value=TEMPLATE, visible=bool(first)),
        "judge_seed": gr.update(value=0, visible=bool(first)),
        "judge_message": gr.update(visible=False),
    }


def show_fields(endpoint: str | None) -> Updates:
    """Show the fields of an endpoint, or those of a scorer."""
    asked = bool(endpoint)
    return {
        "judge_scorer": gr.update(visible=not asked),
        "judge_template": gr.update(visible=asked),
        "judge_seed": gr.update(visible=asked),
    }


def close_form() -> Any:
    return gr.update(visible=False)


def start(
    endpoint: str | None,
    scorer: str | None,
    template: str | None,
    seed: float | None,
    request: gr.Request,
) -> Updates:
    """Start a judge; on an error the form stays open with its values."""
    if not endpoint and not (scorer or "").strip():
        return _below("Name a scorer, or choose an endpoint.")
    try:
        judges.start(
            campaign_id(request),
            endpoint or "",
            scorer="" if endpoint else scorer or "",
            template=template or "",
            seed=int(seed or 0),
            user=query.username(request),
        )
    except AppError as error:
        return _below(str(error))
    return {**one.show("", request), "judge_form": gr.update(visible=False)}


def _below(sentence: str) -> Updates:
    return {"judge_message": gr.update(value=widgets.field_error(sentence), visible=True)}


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
    said = "Nothing is left to judge: all pairs of different answers have a verdict."
    message = gr.update(value="" if queued else widgets.notice(said), visible=not queued)
    return {"message": message, **one.show("", request)}


def _of_campaign(request: gr.Request) -> list[int]:
    return [report.judge.id for report in judges.reports(campaign_id(request))]
