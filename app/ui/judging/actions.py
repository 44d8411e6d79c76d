"""Handlers of the judges' form: open it, show its fields, and read what was given."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from app import endpoints
from app.endpoints.judging import TEMPLATE
from app.errors import AppError
from app.i18n import _
from app.judges import JudgeReport
from app.ui import widgets
from app.ui.updates import Updates


def open_form() -> Updates:
    """Show the form with the default question."""
    keys = [*((found.name, found.name) for found in endpoints.configured()), (_("A scorer"), "")]
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


def started(
    start: Callable[..., int],
    endpoint: str | None,
    scorer: str | None,
    template: str | None,
    seed: float | None,
) -> Updates:
    """Start a judge with the form's values, and close the form; on an error it stays open with its values.

    Args:
        start: takes the endpoint, and scorer, template and seed by name.
    """
    if not endpoint and not (scorer or "").strip():
        return _below(_("Name a scorer, or choose an endpoint."))
    chosen = "" if endpoint else scorer or ""
    try:
        start(endpoint or "", scorer=chosen, template=template or "", seed=int(seed or 0))
    except AppError as error:
        return _below(str(error))
    return {"judge_form": gr.update(visible=False)}


def _below(sentence: str) -> Updates:
    return {"judge_message": gr.update(value=widgets.field_error(sentence), visible=True)}


def buttons(found: Sequence[JudgeReport], *, own: bool) -> Updates:
    """Updates of the section's buttons.

    Args:
        own: whether the reader may start and stop judges.
    """
    return {
        "judge_new": gr.update(visible=own),
        "judge_stop": gr.update(visible=own and any(report.waiting for report in found)),
        "judge_resume": gr.update(visible=own and any(not report.waiting for report in found)),
    }
