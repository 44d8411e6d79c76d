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
    names = [found.name for found in endpoints.configured()]
    return {
        "judge_form": gr.update(visible=True),
        "judge_endpoint": gr.update(choices=names, value=next(iter(names), None)),
        "judge_template": TEMPLATE,
        "judge_seed": 0,
        "judge_message": gr.update(visible=False),
    }


def close_form() -> Any:
    return gr.update(visible=False)


def start(endpoint: str | None, template: str | None, seed: float | None, request: gr.Request) -> Updates:
    """Start a judge; on an error the form stays open with its values."""
    try:
        judges.start(
            campaign_id(request),
            endpoint or "",
            template=template or "",
            seed=int(seed or 0),
            user=query.username(request),
        )
    except AppError as error:
        said = gr.update(value=widgets.field_error(str(error)), visible=True)
        return {"judge_message": said}
    return {**one.show("", request), "judge_form": gr.update(visible=False)}


def stop(request: gr.Request) -> Updates:
    """Stop the campaign's judges."""
    return _all(judges.stop, request)


def resume(request: gr.Request) -> Updates:
    """Continue the campaign's judges."""
    return _all(judges.resume, request)


def _all(act: Any, request: gr.Request) -> Updates:
    user = query.username(request)
    try:
        for report in judges.reports(campaign_id(request)):
            act(report.judge.id, user=user)
    except AppError as error:
        return one.failed(error)
    return {"message": gr.update(visible=False), **one.show("", request)}
