"""Fills the launch form from YAML."""

from pathlib import Path
from typing import Any

from app.errors import AppError, InvalidInput
from app.i18n import _, _n
from app.run_yaml import read_run_yaml
from app.store import datasets
from app.store.db import read_session
from app.ui import widgets
from app.ui.launch import form
from app.ui.launch.errors import FIELDS, raw
from app.ui.updates import Updates
from hypo_engine.config import TrainConfig

MAX_YAML_BYTES = 100_000


def fill(text: str, dataset_id: int | None, method: Any, name: str, *values: Any) -> Updates:
    """Fill the form from YAML; fields that it does not mention keep their values."""
    try:
        loaded = read_run_yaml(text or "")
        if loaded.dataset is not None:
            with read_session() as session:
                dataset_id = datasets.resolve(loaded.dataset, session=session).id
    except AppError as error:
        return _untouched(str(error))
    method = method if loaded.method is None else loaded.method
    name = name if loaded.name is None else loaded.name
    merged = {**raw(values), **loaded.values}
    errors = form.check(merged, form.chosen_methods(method))
    number = len(loaded.values)
    said = widgets.notice(
        _n("The form holds the YAML's {n} value.", "The form holds the YAML's {n} values.", number), "good"
    )
    if errors:
        said = widgets.error_banner(next(iter(errors.values())))
        merged = {k: (v if k not in errors or _can_show(k, v) else raw(values)[k]) for k, v in merged.items()}
    return {
        "dataset": dataset_id,
        "method": method,
        "name": name,
        "preset": None,
        "about": widgets.NOTHING,
        "yaml_message": said,
        **{field: merged[field] for field in FIELDS},
    }


def fill_from_file(path: str | None, *rest: Any) -> Updates:
    """Fill the form from a YAML file."""
    try:
        file = Path(path or "")
        if file.stat().st_size > MAX_YAML_BYTES:
            raise InvalidInput(_("This file is too large for a configuration."), field="yaml")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, AppError) as error:
        said = str(error) if isinstance(error, AppError) else _("This file cannot be read as text.")
        return _untouched(said)
    return fill(text, *rest)


def _untouched(problem: str) -> Updates:
    """An error message; the form stays unchanged."""
    return {"yaml_message": widgets.error_banner(problem)}


def _can_show(name: str, value: Any) -> bool:
    """Whether the field's component can display the value, even if it is invalid."""
    kind = TrainConfig.model_fields[name].annotation
    if kind is int:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind in (float, str)
