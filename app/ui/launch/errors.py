"""Validation of the launch form, and the messages below its fields."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import gradio as gr

from app.i18n import _
from app.launch_plan import check_configs
from app.model_check import model_problems
from app.reward_check import reward_problems
from app.ui import widgets
from app.ui.launch import form
from app.ui.updates import Updates

FIELDS: Final = ["model_name_or_path", *form.names(), "insist"]
"""The TrainConfig fields of the form, in the order in which handlers receive them."""


def problems(raw: Mapping[str, Any], method: object) -> dict[str, str]:
    """Validation errors by field; the base model is checked only if all fields are valid."""
    methods = form.chosen_methods(method)
    if found := {**form.method_error(method), **form.check(raw, methods)}:
        return found
    config = check_configs(methods, raw)[-1]
    return {**model_problems(config), **reward_problems(config)}


def name_error(name: str | None) -> dict[str, str]:
    """The validation error of the run's name, if any."""
    if len((name or "").strip()) <= 100:
        return {}
    return {"name": _("The name has more than 100 characters; shorten it.")}


def raw(values: Sequence[Any]) -> dict[str, Any]:
    """The form's values by field, with fractions parsed as numbers.

    Args:
        values: in the order of FIELDS.
    """
    return form.read(dict(zip(FIELDS, values, strict=True)))


def messages(errors: Mapping[str, str]) -> Updates:
    """Updates of the messages below fields; Advanced opens if it contains an invalid field."""
    hidden = any(name in errors for _title, names in form.sections() for name in names)
    said = {
        f"{field}_message": gr.update(
            value=widgets.field_error(errors.get(field, "")), visible=field in errors
        )
        for field in ("dataset", "method", "name", "judge", "sweep", *FIELDS)
    }
    for field, section in (("judge", "judging"), ("sweep", "sweeping")):
        if field in errors:
            said[section] = gr.update(open=True)
    return {"advanced": gr.update(open=True), **said} if hidden else said
