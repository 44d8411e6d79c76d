"""The initial state of the launch form: from the draft or from the address."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from app.errors import NotFound
from app.i18n import _, _html
from app.launch_methods import DEFAULT
from app.presets import default_preset
from app.run_yaml import DEFAULTS
from app.store import datasets, runs, workers
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Dataset, Run
from app.store.run_names import copy_name
from app.text import clean_name
from app.ui import formatting, query, widgets
from app.ui.launch import form, judge, sweep
from app.ui.launch.errors import FIELDS
from app.ui.launch.presets import about, has_gpu, start
from app.ui.run import view as run_view
from app.ui.updates import Updates
from app.ui.widgets import Html
from app.usable_rows import learns_from
from hypo_engine.config import Method
from hypo_engine.model_spec import PREFIX, is_run_model

_LONGEST_NAME = 500
"""Characters of a base model's name."""


def dataset_choices() -> list[tuple[str, int]]:
    """The datasets available for training, newest first."""
    with read_session() as session:
        return [(_dataset_name(found), found.id) for found in datasets.find(session=session)]


def _dataset_name(dataset: Dataset) -> str:
    return f"{dataset.name} v{dataset.version} ({formatting.count(dataset.rows, 'pair')})"


def worker_notice() -> Html:
    """A warning while no worker is consuming the train queue."""
    with read_session() as session:
        if workers.consuming(session=session, queue="train"):
            return widgets.NOTHING
        missing = run_view.no_worker(session=session)
    return widgets.notice(_html("{why} Runs launched now wait in the queue.", why=missing), "warning")


def open_page(draft: Mapping[str, Any] | None, request: gr.Request) -> Updates:
    """Restore the draft, or fill the form from the address: `?clone=`, `?start=`, `?dataset=`, `?method=`."""
    choices = dataset_choices()
    chosen = dict(draft or {})
    first = default_preset(gpu=has_gpu()) if not chosen.get("values") else None
    values = start(first)
    values |= {k: v for k, v in (chosen.get("values") or {}).items() if k in DEFAULTS}
    method, name, dataset_id = chosen.get("method"), chosen.get("name", ""), chosen.get("dataset")
    parent, said = None, widgets.NOTHING
    source, problem = _cloned(request)
    if source is not None:
        values = {**DEFAULTS, **{k: v for k, v in source.config.items() if k in DEFAULTS}, "insist": False}
        method, dataset_id, parent, first = source.method, source.dataset_id, source.id, None
        with read_session() as session:
            name = copy_name(source, session=session)
        said = widgets.notice(
            _html(
                "A copy of {run}; change what you like.",
                run=widgets.link(run_view.named(source), "run", id=source.id),
            )
        )
    elif problem:
        said = widgets.notice(problem, "warning")
    start_from = clean_name(query.value(request, "start"))[:_LONGEST_NAME]
    if is_run_model(start_from) or (start_from and not start_from.startswith(PREFIX)):
        values["model_name_or_path"] = start_from
        said = widgets.notice(
            _("The run starts from {model}, which is then its reference.", model=start_from)
        )
    asked = query.ids(request, "dataset")
    dataset_id = asked[0] if asked else dataset_id
    known = [identity for _label, identity in choices]
    named = query.value(request, "dataset")
    if named and (asked[0] if asked else None) not in known:
        words = _("There is no dataset {id} to launch on; choose one below.", id=named[:40])
        said = widgets.join([said, widgets.notice(words, "warning")])
    dataset_id = dataset_id if dataset_id in known else (known[0] if known else None)
    return {
        "notice": worker_notice(),
        "dataset": gr.update(choices=choices, value=dataset_id),
        "method": _methods(request, method, dataset_id),
        "name": name,
        "parent": parent,
        **judge.opened(chosen.get("judge")),
        **sweep.opened(chosen),
        "outcome": said,
        "preset": first,
        "about": about(first),
        **{field: values[field] for field in FIELDS},
        "model_name_or_path": gr.update(choices=_model_choices(), value=values["model_name_or_path"]),
    }


def _methods(request: gr.Request, method: object, dataset_id: int | None) -> list[Method]:
    """The address's methods, or the form's; KTO for a dataset whose rows have one answer."""
    named = form.chosen_methods(query.value(request, "method") or method)
    if named or dataset_id is None:
        return named or list(DEFAULT)
    with read_session() as session:
        pairs = learns_from(Method.DPO, dataset_id, session=session)
        single = not pairs and learns_from(Method.KTO, dataset_id, session=session)
    return [Method.KTO] if single else list(DEFAULT)


def _model_choices() -> list[tuple[str, str]]:
    """Labels and names: the demo model, base models of earlier runs, and the models that runs trained."""
    with read_session() as session:
        found = runs.find(session=session, limit=50)
    used = dict.fromkeys(["demo", *(run.base_model for run in found)])
    trained = {
        f"run:{run.id}": _("Run {id}: {name}", id=run.id, name=run.name)
        for run in found
        if run.status is RunStatus.FINISHED and Method(run.method).writes
    }
    return [(trained.get(name, name), name) for name in dict.fromkeys([*used, *trained])]


def _cloned(request: gr.Request | None) -> tuple[Run | None, str]:
    wanted, wrong = query.ids(request, "clone"), query.wrong_id(request, "clone")
    if not wanted:
        return None, _no_run(wrong) if wrong else ""
    try:
        with read_session() as session:
            return runs.get(wanted[0], session=session), ""
    except NotFound:
        return None, _no_run(wanted[0])


def _no_run(run_id: object) -> str:
    return _("There is no run {id} to clone; the form shows the defaults.", id=run_id)
