"""Initial values of the form: defaults, overridden by a preset."""

from typing import Any

from markupsafe import Markup

from app.i18n import _
from app.launch_methods import DEFAULT
from app.presets import PRESETS, default_preset
from app.run_yaml import DEFAULTS
from app.store import workers
from app.store.db import read_session
from app.ui import widgets
from app.ui.launch.errors import FIELDS
from app.ui.updates import Updates
from app.ui.widgets import Html


def start(preset: str | None) -> dict[str, Any]:
    """The values of an untouched form."""
    values = {**DEFAULTS, **(PRESETS[preset].values if preset else {})}
    return {field: values[field] for field in FIELDS}


def about(preset: str | None) -> Html:
    if preset is None:
        return widgets.NOTHING
    return Markup('<p class="hy-note">{}</p>').format(_(PRESETS[preset].description))


def has_gpu() -> bool:
    """Whether a live train worker has a GPU; workers record their device."""
    with read_session() as session:
        return workers.any_gpu(session=session, queue="train")


def use_preset(chosen: str | None) -> Updates:
    """Fill the form with a preset; the base model is kept."""
    preset = PRESETS.get(chosen or "")
    if preset is None:
        return {}
    values = start(chosen)
    del values["model_name_or_path"]
    return {"about": about(chosen), **values}


def defaults() -> Updates:
    """Reset the form to its initial state."""
    first = default_preset(gpu=has_gpu())
    return {
        "preset": first,
        "about": about(first),
        "method": list(DEFAULT),
        "name": "",
        "parent": None,
        **start(first),
    }
