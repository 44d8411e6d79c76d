"""The launch page: the form, the same as YAML and command, and what is wrong before anything is queued."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from app.errors import AppError, InvalidInput, NotFound, Refused
from app.launch import LaunchMethod, launch
from app.presets import PRESETS, default_preset
from app.run_yaml import DEFAULTS, read_run_yaml
from app.store import datasets, runs, workers
from app.store.db import read_session
from app.store.models import Dataset, Run
from app.store.run_names import copy_name
from app.ui import events, formatting, query, widgets
from app.ui.commands import launch_command, to_yaml
from app.ui.launch import form
from app.ui.launch import memory as launch_memory
from app.ui.launch import summary as launch_summary
from app.ui.launch.errors import FIELDS, messages, name_error, problems
from app.ui.launch.form import Form
from app.ui.run import view as run_view
from app.ui.widgets import Html
from hypo_engine.config import TrainConfig

METHODS = [("DPO", "dpo"), ("HyPO", "hypo"), ("Twins: both, to compare", "twins")]
MAX_YAML_BYTES = 100_000


def build() -> None:
    """Layout, then wiring."""
    gr.HTML(
        widgets.page_header(
            "Launch a run",
            "DPO learns from the pairs alone; HyPO also samples from the model and pays for drifting away.",
        ),
        js_on_load=form.SCRIPT,
    )
    notice = gr.HTML()
    fields = Form()
    with gr.Row(elem_classes="hy-launch"):
        with gr.Column(scale=3, min_width=340):
            with gr.Group(elem_classes="hy-panel"):
                with gr.Row(elem_classes="hy-grid hy-two"):
                    with gr.Column(min_width=260, elem_classes="hy-field"):
                        dataset = gr.Dropdown(
                            [], label="Dataset", info="What it learns from.", elem_id="field-dataset"
                        )
                        dataset_message = gr.HTML(visible=False)
                    with gr.Column(min_width=260, elem_classes="hy-field"):
                        model = gr.Dropdown(
                            ["demo"],
                            value="demo",
                            label=TrainConfig.model_fields["model_name_or_path"].title,
                            info=form.help_text("model_name_or_path"),
                            allow_custom_value=True,
                            elem_id="field-model_name_or_path",
                        )
                        fields.add("model_name_or_path", model)
                method = gr.Radio(
                    METHODS,
                    value="twins",
                    label="Method",
                    info="Twins are a DPO and a HyPO run on the same data, order, seed and budget.",
                    elem_id="field-method",
                )
            with gr.Group(elem_classes="hy-panel"):
                preset = gr.Radio(
                    [(preset.title, name) for name, preset in PRESETS.items()],
                    value=None,
                    label="Start from a preset",
                    info="Starting points by task, this project's own choice; every value can be changed.",
                    elem_id="field-preset",
                )
                about = gr.HTML(elem_classes="hy-about")
                fields.front()
            with gr.Accordion("Advanced", open=False, elem_id="advanced") as advanced:
                fields.advanced()
            with gr.Group(elem_classes="hy-panel"), gr.Column(elem_classes="hy-field"):
                name = gr.Textbox(
                    label="Name",
                    info="What to call it; made up when empty.",
                    max_lines=1,
                    elem_id="field-name",
                )
                name_message = gr.HTML(visible=False)
        with gr.Column(scale=2, min_width=320, elem_classes="hy-aside"):
            summary, time, memory = gr.HTML(), gr.HTML(), gr.HTML()
            insist = gr.Checkbox(
                label=TrainConfig.model_fields["insist"].title,
                info="The run may stop when the memory is full.",
                visible=False,
                elem_id="field-insist",
            )
            fields.add("insist", insist)
            go = gr.Button("Launch", variant="primary", size="lg", elem_id="launch", interactive=False)
            outcome = gr.HTML()
            command = gr.Code(label="The same as a command", interactive=False)
            with gr.Accordion("The same as YAML", open=False):
                yaml = gr.Code(interactive=False, show_label=False, max_lines=24)
            with gr.Accordion("Load YAML", open=False, elem_id="load-yaml"):
                pasted = gr.Textbox(
                    label="Paste", lines=5, max_lines=12, placeholder="beta: 0.05\nmax_steps: 200"
                )
                with gr.Row(elem_classes="hy-buttons"):
                    take = gr.Button("Fill the form", size="md", scale=0, min_width=130)
                    upload = gr.UploadButton("Open a file", file_types=[".yaml", ".yml"], size="md", scale=0)
                yaml_message = gr.HTML()
            reset = gr.Button("Reset to defaults", size="sm", scale=0, min_width=150)
    parent, refused = gr.State(None), gr.Textbox(visible=False)
    draft = gr.BrowserState({}, storage_key="hypo-launch", secret="hypo-launch")

    # wiring
    knobs = [fields.inputs[field] for field in FIELDS]
    given = [dataset, method, name, *knobs]
    told = [advanced, dataset_message, name_message, *(fields.messages[field] for field in FIELDS)]
    lengths = fields.below[form.SECTIONS["lengths"]]
    seen = [summary, time, lengths, command, yaml, draft, go, memory, insist, *told]
    quiet: dict[str, Any] = {**events.QUIET, "trigger_mode": "always_last"}

    def then_preview(event: Any) -> None:
        event.then(preview, given, seen, **events.QUIET)

    then_preview(
        events.on_load(
            open_page, draft, [notice, dataset, method, name, parent, outcome, preset, about, *knobs]
        )
    )
    events.poll(5, worker_notice, None, notice)
    edited = [component.input for component in given]
    gr.on(edited, preview, given, seen, **quiet)
    gr.on(edited, forget_refusal, refused, [outcome, refused], **quiet)
    then_preview(preset.input(use_preset, preset, [about, *knobs], **events.QUIET))
    filled = [dataset, method, name, preset, about, yaml_message, *knobs]
    then_preview(take.click(fill, [pasted, dataset, method, name, *knobs], filled, **events.QUIET))
    then_preview(
        upload.upload(fill_from_file, [upload, dataset, method, name, *knobs], filled, **events.QUIET)
    )
    then_preview(reset.click(defaults, None, [preset, about, method, name, parent, *knobs], **events.QUIET))
    go.click(
        launch_runs,
        [parent, *given],
        [outcome, refused, go, *told],
        trigger_mode="once",
        api_visibility="private",
    )


_REFUSED = "Nothing was queued"


# --- handlers --------------------------------------------------------------------------------


def dataset_choices() -> list[tuple[str, int]]:
    """Datasets that can be trained on, newest first."""
    with read_session() as session:
        return [(_dataset_name(found), found.id) for found in datasets.find(session=session)]


def _dataset_name(dataset: Dataset) -> str:
    return f"{dataset.name} v{dataset.version} ({formatting.count(dataset.rows, 'pair')})"


def worker_notice() -> Html:
    """A warning where a launched run would wait for ever."""
    with read_session() as session:
        if workers.consuming(session=session, queue="train"):
            return widgets.NOTHING
        missing = run_view.no_worker(session=session)
    return widgets.notice(Markup("{} Runs launched now wait in the queue.").format(missing), "warning")


def open_page(draft: Mapping[str, Any] | None, request: gr.Request) -> tuple[Any, ...]:
    """The form as it was left, or as the address says: `?clone=RUN` or `?dataset=ID`."""
    choices = dataset_choices()
    chosen = dict(draft or {})
    first = default_preset(gpu=_has_gpu()) if not chosen.get("values") else None
    values = _start(first)
    values |= {k: v for k, v in (chosen.get("values") or {}).items() if k in DEFAULTS}
    method, name, dataset_id = chosen.get("method", "twins"), chosen.get("name", ""), chosen.get("dataset")
    parent, said = None, widgets.NOTHING
    source, problem = _cloned(request)
    if source is not None:
        values = {**DEFAULTS, **{k: v for k, v in source.config.items() if k in DEFAULTS}, "insist": False}
        method, dataset_id, parent, first = source.method, source.dataset_id, source.id, None
        with read_session() as session:
            name = copy_name(source, session=session)
        said = widgets.notice(
            Markup("A copy of {}; change what you like.").format(
                widgets.link(f"run {source.id}, {source.name}", "run", id=source.id)
            )
        )
    elif problem:
        said = widgets.notice(problem, "warning")
    asked = query.ids(request, "dataset")
    dataset_id = asked[0] if asked else dataset_id
    known = [identity for _, identity in choices]
    dataset_id = dataset_id if dataset_id in known else (known[0] if known else None)
    return (
        worker_notice(),
        gr.update(choices=choices, value=dataset_id),
        method if method in list(LaunchMethod) else "twins",
        name,
        parent,
        said,
        first,
        _about(first),
        gr.update(choices=_model_choices(), value=values["model_name_or_path"]),
        *(values[field] for field in FIELDS[1:]),
    )


def _start(preset: str | None) -> dict[str, Any]:
    """The form's values with nothing changed by anybody."""
    return {**DEFAULTS, **(PRESETS[preset].values if preset else {})}


def _about(preset: str | None) -> Html:
    if preset is None:
        return widgets.NOTHING
    return Markup('<p class="hy-note">{}</p>').format(PRESETS[preset].description)


def _has_gpu() -> bool:
    """Whether a train worker that is present computes on a GPU: workers record what they have."""
    with read_session() as session:
        present = workers.present(session=session, queue="train")
    return any(not worker.device.startswith("CPU") for worker in present)


def _model_choices() -> list[str]:
    with read_session() as session:
        used = [run.base_model for run in runs.find(session=session, limit=50)]
    return list(dict.fromkeys(["demo", *used]))


def _cloned(request: gr.Request | None) -> tuple[Run | None, str]:
    wanted = query.ids(request, "clone")
    if not wanted:
        return None, ""
    try:
        with read_session() as session:
            return runs.get(wanted[0], session=session), ""
    except NotFound:
        return None, f"There is no run {wanted[0]} to clone; the form has its defaults."


def preview(dataset_id: int | None, method: str, name: str, *values: Any) -> tuple[Any, ...]:
    """What the form says as summary, command and YAML, what is wrong with it, and the draft to keep."""
    raw = _raw(values)
    errors = problems(raw, method)
    tidy = raw if errors else TrainConfig.model_validate({**raw, "method": "hypo"}).model_dump(mode="json")
    dataset = _find_dataset(dataset_id)
    reference = f"{dataset.name}@{dataset.version}" if dataset else ""
    return (
        *launch_summary.show(tidy, method, dataset, errors),
        launch_command(method, reference, tidy, name=name or ""),
        to_yaml(tidy, method=method, dataset=reference, name=name or ""),
        {"dataset": dataset_id, "method": method, "name": name, "values": {**raw, "insist": False}},
        gr.update(interactive=True, value="Launch both" if method == "twins" else "Launch"),
        *(
            launch_memory.nothing()
            if errors or dataset is None
            else launch_memory.show(tidy, method, dataset)
        ),
        *messages({**errors, **name_error(name)}),
    )


def forget_refusal(refused: str | None) -> Any:
    """Take away what the last launch refused when the form is changed; anything else stays said.

    The flag is the browser's, as it was when the key was pressed: an answer that comes after the next
    launch's must not wipe that away.
    """
    return (widgets.NOTHING, "") if refused else (gr.skip(), gr.skip())


def use_preset(chosen: str | None) -> tuple[Any, ...]:
    """Fill the form with a preset; the base model stays."""
    preset = PRESETS.get(chosen or "")
    if preset is None:
        return tuple(gr.skip() for _ in range(1 + len(FIELDS)))
    values = _start(chosen)
    return _about(chosen), gr.skip(), *(values[field] for field in FIELDS[1:])


def defaults() -> tuple[Any, ...]:
    """The form as it is on the first visit."""
    first = default_preset(gpu=_has_gpu())
    values = _start(first)
    return first, _about(first), "twins", "", None, *(values[field] for field in FIELDS)


def fill(text: str, dataset_id: int | None, method: str, name: str, *values: Any) -> tuple[Any, ...]:
    """Fill the form from YAML; what the YAML does not name stays as it is."""
    try:
        loaded = read_run_yaml(text or "")
        if loaded.dataset is not None:
            with read_session() as session:
                dataset_id = datasets.resolve(loaded.dataset, session=session).id
    except AppError as error:
        return _untouched(str(error))
    method = method if loaded.method is None else loaded.method.value
    name = name if loaded.name is None else loaded.name
    merged = {**_raw(values), **loaded.values}
    errors = form.check(merged, method)
    said = widgets.notice(
        f"The form holds the YAML's {formatting.count(len(loaded.values), 'value')}.", "good"
    )
    if errors:
        said = widgets.error_banner(next(iter(errors.values())))
        merged = {k: (v if k not in errors or _fits(k, v) else _raw(values)[k]) for k, v in merged.items()}
    return dataset_id, method, name, None, widgets.NOTHING, said, *(merged[field] for field in FIELDS)


def fill_from_file(path: str | None, *rest: Any) -> tuple[Any, ...]:
    """Fill the form from a YAML file."""
    try:
        file = Path(path or "")
        if file.stat().st_size > MAX_YAML_BYTES:
            raise InvalidInput("This file is too large for a configuration.", field="yaml")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, AppError) as error:
        said = str(error) if isinstance(error, AppError) else "This file cannot be read as text."
        return _untouched(said)
    return fill(text, *rest)


def _untouched(problem: str) -> tuple[Any, ...]:
    """The form as it stands, and what is wrong with the YAML."""
    return (*(gr.skip() for _ in range(5)), widgets.error_banner(problem), *(gr.skip() for _ in FIELDS))


def launch_runs(
    parent: int | None, dataset_id: int | None, method: str, name: str, *values: Any
) -> tuple[Any, ...]:
    """Check the form and queue what it describes; a bad value is told beside its field and queues nothing."""
    raw = _raw(values)
    errors = {**problems(raw, method), **name_error(name)}
    if _find_dataset(dataset_id) is None:
        errors["dataset"] = "Choose a dataset; the page Datasets brings one in."
    if errors:
        count = formatting.count(len(errors), "value")
        said = widgets.error_banner(f"{_REFUSED}: {count} to correct ({form.titles(errors)}).")
        return said, "yes", gr.skip(), *messages(errors)
    try:
        queued = launch(method, int(dataset_id or 0), raw, name=name or "", parent_id=parent)
    except Refused as error:
        return widgets.error_banner(f"{_REFUSED}: {error}"), "yes", gr.skip(), *messages({})
    except AppError as error:
        field = error.field if isinstance(error, InvalidInput) else None
        marked = {field: str(error)} if field else {}
        return widgets.error_banner(str(error)), "", gr.skip(), *messages(marked)
    links = widgets.join([widgets.link(f"run {run.id}", "run", id=run.id) for run in queued], " and ")
    said = Markup(
        '<div class="hy-notice hy-good" role="status" data-next="{}">Queued {}. Opening…</div>'
    ).format(widgets.url("run", id=queued[-1].id), links)
    return said, "", gr.update(interactive=False, value="Queued"), *messages({})


def _raw(values: tuple[Any, ...]) -> dict[str, Any]:
    return form.read(dict(zip(FIELDS, values, strict=True)))


def _fits(name: str, value: Any) -> bool:
    """Whether a component can show a value at all, even a bad one."""
    kind = TrainConfig.model_fields[name].annotation
    if kind is int:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind in (float, str)


def _find_dataset(dataset_id: int | None) -> Dataset | None:
    if dataset_id is None:
        return None
    with read_session() as session:
        try:
            dataset = datasets.get(int(dataset_id), session=session)
        except (NotFound, ValueError):
            return None
    return dataset if dataset.deleted_at is None else None
