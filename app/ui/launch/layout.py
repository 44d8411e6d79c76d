"""The components of the launch page, by section."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.i18n import _, _n
from app.launch_methods import DEFAULT
from app.presets import PRESETS
from app.ui import widgets
from app.ui.launch import form
from app.ui.launch.errors import FIELDS
from app.ui.launch.form import Form
from app.ui.launch.judge import JudgeChoice
from app.ui.launch.judge import lay_out as lay_out_judge
from app.ui.launch.sweep import SweepChoice
from app.ui.launch.sweep import lay_out as lay_out_sweep
from app.ui.updates import named, pick
from hypo_engine.config import Method


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices outside the configuration's fields."""

    dataset: gr.Dropdown
    dataset_message: gr.HTML
    method: gr.CheckboxGroup
    method_message: gr.HTML
    preset: gr.Radio
    about: gr.HTML
    advanced: gr.Accordion
    name: gr.Textbox
    name_message: gr.HTML


@dataclass(frozen=True, slots=True)
class Forecast:
    """The run's summary, expected time and memory, and the launch button."""

    summary: gr.HTML
    time: gr.HTML
    memory: gr.HTML
    insist: gr.Checkbox
    go: gr.Button
    outcome: gr.HTML
    command: gr.Code
    yaml: gr.Code


@dataclass(frozen=True, slots=True)
class LoadYaml:
    """The controls that fill the whole form."""

    pasted: gr.Textbox
    take: gr.Button
    upload: gr.UploadButton
    yaml_message: gr.HTML
    reset: gr.Button


@dataclass(frozen=True, slots=True)
class PageState:
    """The page's state: the cloned run, a refusal flag, and the draft of the form."""

    parent: gr.State
    refused: gr.Textbox
    draft: gr.BrowserState


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections of the page; `fields` are those of the configuration."""

    notice: gr.HTML
    fields: Form
    choices: Choices
    judge: JudgeChoice
    sweep: SweepChoice
    forecast: Forecast
    load: LoadYaml
    state: PageState

    @property
    def config_inputs(self) -> dict[str, Any]:
        """The configuration's components by field."""
        return {field: self.fields.inputs[field] for field in FIELDS}

    @property
    def form_inputs(self) -> list[Any]:
        """The inputs of the whole form: dataset, method, name, and the configuration's fields."""
        return [self.choices.dataset, self.choices.method, self.choices.name, *self.config_inputs.values()]

    @property
    def message_outputs(self) -> dict[str, Any]:
        """The messages below the fields, and the Advanced accordion, which opens on an error inside it."""
        own = pick(named(self.choices), "advanced", "dataset_message", "method_message", "name_message")
        own |= pick(named(self.judge), "judging", "judge_message")
        own |= pick(named(self.sweep), "sweeping", "sweep_message")
        return {**own, **{f"{field}_message": self.fields.messages[field] for field in FIELDS}}


def lay_out() -> Layout:
    """Lay out the whole page."""
    gr.HTML(
        widgets.page_header(
            _("Launch a run"),
            _(
                "DPO learns from the pairs alone, HyPO also samples from the model and penalises drift. "
                "RLOO, PPO and online DPO learn from a reward."
            ),
        ),
        js_on_load=form.SCRIPT,
    )
    notice = gr.HTML()
    fields = Form()
    with gr.Row(elem_classes="hy-launch"):
        with gr.Column(scale=3, min_width=340):
            choices = _choices(fields)
            sweep = lay_out_sweep()
            judge = lay_out_judge()
        with gr.Column(scale=2, min_width=320, elem_classes="hy-aside"):
            forecast = _forecast(fields)
            load = _load_yaml()
    state = PageState(
        parent=gr.State(None),
        refused=gr.Textbox(visible=False),
        draft=gr.BrowserState({}, storage_key="hypo-launch", secret="hypo-launch"),
    )
    return Layout(notice, fields, choices, judge, sweep, forecast, load, state)


def _choices(fields: Form) -> Choices:
    with gr.Group(elem_classes="hy-panel"):
        with gr.Row(elem_classes="hy-grid hy-two"):
            with gr.Column(min_width=260, elem_classes="hy-field"):
                dataset = gr.Dropdown(
                    [], label=_("Dataset"), info=_("The pairs to train on."), elem_id="field-dataset"
                )
                dataset_message = gr.HTML(visible=False)
            with gr.Column(min_width=260, elem_classes="hy-field"):
                fields.add("model_name_or_path", _model())
        with gr.Column(elem_classes="hy-field"):
            method = gr.CheckboxGroup(
                [(_(method.label), method.value) for method in Method],
                value=list(DEFAULT),
                label=_("Method"),
                info=_(
                    "One, or up to five to compare: twins on the same data, order, prompts, seed and steps."
                ),
                elem_id="field-method",
            )
            method_message = gr.HTML(visible=False)
    with gr.Group(elem_classes="hy-panel"):
        preset = gr.Radio(
            [(_(preset.title), name) for name, preset in PRESETS.items()],
            value=None,
            label=_("Start from a preset"),
            info=_("Starting points by task, this project's own choice; every value can be changed."),
            elem_id="field-preset",
        )
        about = gr.HTML(elem_classes="hy-about")
        fields.front()
    with gr.Accordion(_("Advanced"), open=False, elem_id="advanced") as advanced:
        fields.advanced()
    with gr.Group(elem_classes="hy-panel"), gr.Column(elem_classes="hy-field"):
        name = gr.Textbox(
            label=_("Name"),
            info=_("Name of the run; generated if empty."),
            max_lines=1,
            elem_id="field-name",
        )
        name_message = gr.HTML(visible=False)
    chosen = dataset, dataset_message, method, method_message
    return Choices(*chosen, preset, about, advanced, name, name_message)


def _model() -> gr.Dropdown:
    return gr.Dropdown(
        ["demo"],
        value="demo",
        label=form.title("model_name_or_path"),
        info=form.help_text("model_name_or_path"),
        allow_custom_value=True,
        elem_id="field-model_name_or_path",
    )


def _forecast(fields: Form) -> Forecast:
    summary = gr.HTML(widgets.loading(), elem_id="launch-summary")
    time, memory = gr.HTML(), gr.HTML()
    insist = gr.Checkbox(
        label=form.title("insist"),
        info=_("The run may stop when the memory is full."),
        visible=False,
        elem_id="field-insist",
    )
    fields.add("insist", insist)
    go = gr.Button(launch_label(1), variant="primary", size="lg", elem_id="launch", interactive=False)
    outcome = gr.HTML()
    command = gr.Code(label=_("The same as a command"), interactive=False)
    with gr.Accordion(_("The same as YAML"), open=False):
        yaml = gr.Code(interactive=False, show_label=False, max_lines=24)
    return Forecast(summary, time, memory, insist, go, outcome, command, yaml)


def launch_label(runs: int) -> str:
    """The label of the button that launches this many runs."""
    if runs < 2:
        return _n("Launch", "Launch", 1)  # as a plural, since the page's name is the same word in English
    return _("Launch both") if runs == 2 else _n("Launch {n} run", "Launch {n} runs", runs)


def _load_yaml() -> LoadYaml:
    with gr.Accordion(_("Load YAML"), open=False, elem_id="load-yaml"):
        pasted = gr.Textbox(label=_("Paste"), lines=5, max_lines=12, placeholder="beta: 0.05\nmax_steps: 200")
        with gr.Row(elem_classes="hy-buttons"):
            take = gr.Button(_("Fill the form"), size="md", scale=0, min_width=130)
            upload = gr.UploadButton(_("Open a file"), file_types=[".yaml", ".yml"], size="md", scale=0)
        message = gr.HTML()
    reset = gr.Button(_("Reset to defaults"), size="sm", scale=0, min_width=150)
    return LoadYaml(pasted, take, upload, message, reset)
