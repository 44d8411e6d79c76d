"""The launch page: the form, its YAML and command, and validation before a run is queued."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
from markupsafe import Markup

from app.errors import AppError, InvalidInput, NotFound, Refused
from app.i18n import _, _html, _n, in_language
from app.launch import launch
from app.launch_methods import each_run, written
from app.launch_plan import plan
from app.store import datasets, run_dependencies, users
from app.store.db import read_session
from app.store.models import Dataset, Run
from app.sweeps import Sweep
from app.ui import events, formatting, query, widgets
from app.ui.commands import launch_command, to_yaml
from app.ui.launch import form
from app.ui.launch import judge as judges
from app.ui.launch import memory as launch_memory
from app.ui.launch import summary as launch_summary
from app.ui.launch import sweep as sweeps
from app.ui.launch.errors import messages, name_error, problems, raw
from app.ui.launch.layout import Layout, launch_label, lay_out
from app.ui.launch.load import fill, fill_from_file
from app.ui.launch.opening import open_page, worker_notice
from app.ui.launch.presets import defaults, use_preset
from app.ui.updates import Updates, connect, named, pick
from hypo_engine.config import Method, TrainConfig


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    _wire_opening(page)
    _wire_editing(page)
    _wire_filling(page)
    _wire_launch(page)


def _wire_opening(page: Layout) -> None:
    parts = named(page.choices, page.forecast, page.state)
    sweep = pick(named(page.sweep), "sweep", "trials")
    opened = pick(parts, "dataset", "method", "name", "parent", "outcome", "preset", "about")
    outputs = {"notice": page.notice, "judge": page.judge.judge, **sweep, **opened, **page.config_inputs}
    _then_preview(page, connect(events.on_load, open_page, page.state.draft, outputs))
    events.poll(5, worker_notice, None, page.notice)


def _then_preview(page: Layout, event: Any) -> None:
    """Update the preview after an event that changed the form."""
    connect(event.then, preview_all, _all_inputs(page), _previewed(page), **events.QUIET)


def _all_inputs(page: Layout) -> list[Any]:
    """The judge, the sweep, and the inputs of the whole form."""
    return [page.judge.judge, page.sweep.sweep, page.sweep.trials, *page.form_inputs]


def _previewed(page: Layout) -> dict[str, Any]:
    """The outputs of the preview."""
    parts = named(page.forecast, page.state)
    shown = pick(parts, "summary", "time", "command", "yaml", "draft", "go", "memory", "insist")
    return {**shown, "lengths": page.fields.below[form.SECTIONS["lengths"]], **page.message_outputs}


def _wire_editing(page: Layout) -> None:
    edited = partial(gr.on, [events.edited(component) for component in _all_inputs(page)])
    last: dict[str, Any] = {**events.QUIET, "trigger_mode": "always_last"}
    connect(edited, preview_all, _all_inputs(page), _previewed(page), **last)
    refused = page.state.refused
    edited(forget_refusal, refused, [page.forecast.outcome, refused], **last)


def _wire_filling(page: Layout) -> None:
    choices, load = page.choices, page.load
    described = pick(named(choices), "preset", "about")
    preset, outputs = choices.preset, {"about": choices.about, **page.config_inputs}
    _then_preview(page, connect(preset.input, use_preset, preset, outputs, **events.QUIET))
    chosen = pick(named(choices), "dataset", "method", "name")
    filled = {**chosen, **described, "yaml_message": load.yaml_message, **page.config_inputs}
    for event, source, handler in (
        (load.take.click, load.pasted, fill),
        (load.upload.upload, load.upload, fill_from_file),
    ):
        _then_preview(page, connect(event, handler, [source, *page.form_inputs], filled, **events.QUIET))
    fresh = {
        **described,
        **pick(named(choices, page.state), "method", "name", "parent"),
        **page.config_inputs,
    }
    _then_preview(page, connect(load.reset.click, defaults, None, fresh, **events.QUIET))


def _wire_launch(page: Layout) -> None:
    answered = pick(named(page.forecast, page.state), "outcome", "refused", "go")
    connect(
        page.forecast.go.click,
        launch_all,
        [page.state.parent, *_all_inputs(page)],
        {**answered, **page.message_outputs},
        trigger_mode="once",
        api_visibility="private",
    )


# --- handlers --------------------------------------------------------------------------------


def preview_all(judge: str | None, sweep: str, trials: float | None, *values: Any) -> Updates:
    """`preview`, with the judge and the sweep first."""
    return preview(*values, judge=judge, sweep=sweep, trials=trials)


def preview(
    dataset_id: int | None,
    method: Any,
    name: str,
    *values: Any,
    judge: str | None = "",
    sweep: str = "",
    trials: float | None = None,
) -> Updates:
    """Update the summary, command, YAML, error messages and saved draft."""
    methods, given, swept, drawn, configs, errors = _check(method, values, judge, sweep, trials)
    tidy = {**configs[-1].model_dump(mode="json"), "reward": given["reward"]} if configs else given
    tidy = {**tidy, **{name: given[name] for name in swept}}
    named = written(methods) or "METHOD"
    dataset = _find_dataset(dataset_id)
    reference = f"{dataset.name}@{dataset.version}" if dataset else ""
    return {
        **launch_summary.show(configs, dataset, errors),
        "command": launch_command(
            named, reference, tidy, name=name or "", judge=judges.given(judge), sweep=swept, trials=drawn
        ),
        "yaml": to_yaml(tidy, method=named, dataset=reference, name=name or ""),
        "draft": {
            "dataset": dataset_id,
            "method": method,
            "name": name,
            "judge": judges.given(judge),
            "sweep": sweep,
            "trials": drawn,
            "values": {**raw(values), "insist": False},
        },
        "go": gr.update(interactive=True, value=launch_label(len(configs) or len(each_run(methods, given)))),
        **(launch_memory.show(configs, dataset) if configs and dataset else launch_memory.nothing()),
        **messages({**errors, **name_error(name)}),
    }


class Checked(NamedTuple):
    """The form's values: what they would launch, and what is wrong with them, by field."""

    methods: Sequence[Method]
    values: Mapping[str, Any]
    sweep: Sweep
    trials: int | None
    configs: Sequence[TrainConfig]
    errors: dict[str, str]


def _check(
    method: Any, values: Sequence[Any], judge: str | None, sweep: str, trials: float | None
) -> Checked:
    methods, drawn = form.chosen_methods(method), sweeps.read_trials(trials)
    swept: Sweep = {}
    given = form.relevant(raw(values), methods)
    errors = {**problems(given, method), **judges.error(judge)}
    configs: list[TrainConfig] = []
    try:
        swept = sweeps.read(sweep)
        if not errors:
            configs = [one.config for one in plan(methods, given, swept, trials=drawn)]
    except InvalidInput as error:
        said = in_language(str(error))
        errors["sweep"] = formatting.capital(said) if error.field == "sweep" else said
    return Checked(methods, given, swept, drawn, configs, errors)


def forget_refusal(refused: str | None) -> tuple[Any, Any]:
    """Clear the refusal of the last launch when the form changes; other messages stay.

    The browser sends the flag as of the edit, so a response that arrives after the next launch does not
    clear that launch's message.
    """
    return (widgets.NOTHING, "") if refused else (gr.skip(), gr.skip())


def launch_all(
    request: gr.Request,
    parent: int | None,
    judge: str | None,
    sweep: str,
    trials: float | None,
    *values: Any,
) -> Updates:
    """`launch_runs` by the person at the page, with the judge and the sweep before the form's values."""
    user = query.username(request)
    return launch_runs(parent, *values, judge=judge, sweep=sweep, trials=trials, user=user)


def launch_runs(
    parent: int | None,
    dataset_id: int | None,
    method: Any,
    name: str,
    *values: Any,
    judge: str | None = "",
    sweep: str = "",
    trials: float | None = None,
    user: str = users.LOCAL,
) -> Updates:
    """Queue the runs; on invalid values show messages below the fields and queue nothing."""
    checked = _check(method, values, judge, sweep, trials)
    errors = {**checked.errors, **name_error(name)}
    if _find_dataset(dataset_id) is None:
        errors["dataset"] = _("Choose a dataset; add one on the page Datasets.")
    if errors:
        return _refused(_to_correct(errors), errors)
    try:
        queued = launch(
            method,
            int(dataset_id or 0),
            checked.values,
            name=name or "",
            parent_id=parent,
            judge=judges.given(judge),
            sweep=checked.sweep,
            trials=checked.trials,
            user=user,
        )
    except Refused as error:
        return _refused(in_language(str(error)), {})
    except AppError as error:
        field = error.field if isinstance(error, InvalidInput) else None
        marked = {field: str(error)} if field else {}
        return {"outcome": widgets.error_banner(str(error)), "refused": "", **messages(marked)}
    return _queued(queued, frontier=bool(checked.sweep))


def _queued(queued: Sequence[Run], *, frontier: bool) -> Updates:
    """Name the queued runs and open the one that starts first, or the frontier of a sweep."""
    links = [widgets.link(_("run {id}", id=run.id), "run", id=run.id) for run in queued]
    words = _html("Queued {runs}. Opening…", runs=widgets.join(links, ", "))
    said = Markup('<div class="hy-notice hy-good" role="status" data-next="{}">{}</div>').format(
        _frontier(queued) if frontier else widgets.url("run", id=_first(queued)), words
    )
    button = gr.update(interactive=False, value=_("Queued"))
    return {"outcome": said, "refused": "", "go": button, **messages({})}


def _frontier(queued: Sequence[Run]) -> str:
    """The address of the frontier of the queued runs, without the reward model that they wait for."""
    ids = [run.id for run in queued if run.method != Method.REWARD] or [run.id for run in queued]
    return widgets.url("runs", compare=",".join(map(str, ids)), tab="frontier")


def _to_correct(errors: Mapping[str, str]) -> str:
    return _n(
        "{n} value to correct ({fields}).",
        "{n} values to correct ({fields}).",
        len(errors),
        fields=form.titles(errors),
    )


def _first(queued: Sequence[Run]) -> int:
    """Id of the run that starts first."""
    with read_session() as session:
        startable = run_dependencies.startable([run.id for run in queued], session=session)
    return next(iter(startable), queued[0].id)


def _refused(why: str, errors: Mapping[str, str]) -> Updates:
    """The message of a refused launch; it stays until the form changes."""
    said = widgets.error_banner(_("Nothing was queued: {why}", why=why))
    return {"outcome": said, "refused": "yes", **messages(errors)}


def _find_dataset(dataset_id: int | None) -> Dataset | None:
    if dataset_id is None:
        return None
    with read_session() as session:
        try:
            dataset = datasets.get(int(dataset_id), session=session)
        except (NotFound, ValueError):
            return None
    return dataset if dataset.deleted_at is None else None
