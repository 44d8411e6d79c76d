"""The components of the run page, by section."""

from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from app.i18n import _
from app.run_edits import MAX_NAME, MAX_NOTES
from app.ui import charts, confirmation, widgets
from app.ui.confirmation import Confirmation
from app.ui.judging import layout as judging_layout
from app.ui.judging.layout import Judges
from app.ui.run.samples import LATEST

PREVIOUS, START = "previous", "start"
"""What an answer is compared with: that of the evaluation before, or the one before training."""

FIRST = 0
"""The step before training."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The run's status, facts and actions."""

    status: gr.HTML
    facts: gr.HTML
    cancel: gr.Button
    resume: gr.Button
    export: gr.Button
    report: gr.Button
    delete: gr.Button
    edit: gr.Button
    archive: gr.Button
    download: gr.DownloadButton


@dataclass(frozen=True, slots=True)
class Editing:
    """The form for what people say about the run."""

    editing: gr.Group
    name: gr.Textbox
    tags: gr.Textbox
    notes: gr.Textbox
    save: gr.Button
    close: gr.Button


@dataclass(frozen=True, slots=True)
class Charts:
    """The curves of the run and its twin, the findings, and the rewards of a reward model."""

    advice: gr.HTML
    key: gr.HTML
    x_axis: gr.Radio
    panel: gr.HTML
    rewards: gr.HTML


@dataclass(frozen=True, slots=True)
class Samples:
    """Answers to the probe prompts at two steps, and the responses sampled for the KL penalty."""

    before: gr.Dropdown
    after: gr.Dropdown
    probes: gr.HTML
    online: gr.HTML
    newer: gr.Button
    older: gr.Button
    page: gr.State


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe prompt through training: a slider over the evaluations, and what an answer changed."""

    section: gr.Column
    prompt: gr.Dropdown
    against: gr.Radio
    place: gr.Slider
    changed: gr.HTML
    compare: gr.Button
    compared: gr.HTML


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration as command, table and YAML."""

    command: gr.Code
    config: gr.HTML
    yaml: gr.Code


@dataclass(frozen=True, slots=True)
class Frame:
    """Components outside the sections; `seen` is the state that the open page shows."""

    header: gr.HTML
    body: gr.Column
    message: gr.HTML
    log: gr.HTML
    seen: gr.State
    tabs: gr.Tabs
    of: dict[str, gr.Tab]


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections of the page."""

    frame: Frame
    summary: Summary
    editing: Editing
    confirmation: Confirmation
    charts: Charts
    samples: Samples
    probe: Probe
    settings: Settings
    judging: Judges


def lay_out() -> Layout:
    """Lay out the whole page; everything below the header is hidden until the run is loaded."""
    header = gr.HTML(widgets.loading())
    with gr.Column(visible=False, elem_classes="hy-page") as body:
        summary = _summary()
        editing = _editing()
        confirm = confirmation.lay_out(_("No, keep it"))
        message = gr.HTML()
        each = dict[str, gr.Tab]()
        with gr.Tabs() as tabs:
            with gr.Tab(_("Charts"), id="charts") as each["charts"]:
                curves = _charts()
            samples, probe = _samples(each)
            with gr.Tab(_("Judges"), id="judges") as each["judges"]:
                judging = judging_layout.lay_out()
            with gr.Tab(_("Log"), id="log") as each["log"]:
                log = gr.HTML()
            with gr.Tab(_("Configuration"), id="config") as each["config"]:
                settings = _settings()
    frame = Frame(header, body, message, log, gr.State(()), tabs, each)
    return Layout(frame, summary, editing, confirm, curves, samples, probe, settings, judging)


def _summary() -> Summary:
    status = gr.HTML()
    facts = gr.HTML()
    with gr.Row(elem_classes="hy-buttons"):
        cancel = gr.Button(_("Cancel run"), size="md", min_width=170, scale=0, visible=False)
        resume = gr.Button(_("Resume run"), size="md", min_width=190, scale=0, visible=False)
        export = gr.Button(_("Export adapter (zip)"), size="md", min_width=240, scale=0, visible=False)
        report = gr.Button(_("Report"), size="md", min_width=100, scale=0)
        delete = gr.Button(_("Delete run"), size="md", min_width=150, scale=0, visible=False)
        edit = gr.Button(_("Edit"), size="md", min_width=100, scale=0)
        archive = gr.Button(_("Archive"), size="md", min_width=100, scale=0)
    download = gr.DownloadButton(visible="hidden", elem_id="hy-download")
    return Summary(status, facts, cancel, resume, export, report, delete, edit, archive, download)


def _editing() -> Editing:
    with gr.Group(visible=False, elem_classes="hy-panel") as editing:
        name = gr.Textbox(label=_("Name"), max_lines=1, max_length=MAX_NAME)
        tags = gr.Textbox(
            label=_("Tags"),
            info=_("With commas between them."),
            placeholder=_("baseline, paper"),
            max_lines=1,
        )
        notes = gr.Textbox(label=_("Notes"), info=_("Markdown."), lines=5, max_lines=20, max_length=MAX_NOTES)
        with gr.Row(elem_classes="hy-buttons"):
            save = gr.Button(_("Save"), variant="primary", size="md", min_width=100, scale=0)
            close = gr.Button(_("Close"), size="md", min_width=100, scale=0)
    return Editing(editing, name, tags, notes, save, close)


def _charts() -> Charts:
    advice = gr.HTML()
    with gr.Row(elem_classes="hy-split"):
        key = gr.HTML()
        x_axis = charts.axis_choice()
    return Charts(advice, key, x_axis, charts.panel(elem_id="run-charts"), gr.HTML())


def _samples(each: dict[str, gr.Tab]) -> tuple[Samples, Probe]:
    with gr.Tab(_("Samples"), id="samples") as each["samples"]:
        probe = _probe()
        with gr.Row(elem_classes="hy-filters"):
            before = gr.Dropdown([(_("before training"), FIRST)], value=FIRST, label=_("Earlier"), scale=0)
            after = gr.Dropdown([(_("latest"), LATEST)], value=LATEST, label=_("Later"), scale=0)
        probes = gr.HTML()
    with gr.Tab(_("Online samples"), id="online") as each["online"]:
        online = gr.HTML()
        with gr.Row(elem_classes="hy-buttons"):
            newer = gr.Button(_("Newer"), size="sm", scale=0, min_width=90)
            older = gr.Button(_("Older"), size="sm", scale=0, min_width=90)
        page = gr.State(1)
    return Samples(before, after, probes, online, newer, older, page), probe


def _probe() -> Probe:
    with gr.Column(visible=False) as section:
        gr.HTML(Markup('<h2 class="hy-h2">{}</h2>').format(_("One prompt through training")))
        with gr.Row(elem_classes="hy-filters"):
            prompt = gr.Dropdown([], label=_("Prompt"), scale=0, min_width=280)
            against = gr.Radio(
                [(_("the evaluation before"), PREVIOUS), (_("before training"), START)],
                value=PREVIOUS,
                label=_("Differences to"),
                scale=0,
            )
        place = gr.Slider(1, 2, value=1, step=1, label=_("Evaluation"), elem_id="probe-place")
        changed = gr.HTML()
        compare = gr.Button(_("Compare these two"), size="md", scale=0, min_width=170, visible=False)
        compared = gr.HTML()
        gr.HTML(
            Markup('<h2 class="hy-h2" style="margin-top:18px">{}</h2>').format(_("All prompts at two steps"))
        )
    return Probe(section, prompt, against, place, changed, compare, compared)


def _settings() -> Settings:
    return Settings(
        command=gr.Code(label=_("Command"), interactive=False),
        config=gr.HTML(),
        yaml=gr.Code(label="YAML", interactive=False),
    )
