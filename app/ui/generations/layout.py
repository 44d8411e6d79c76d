"""The components of the page of generations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.i18n import N_, _
from app.store.search_words import MOST_CHARS
from app.ui import widgets
from app.ui.compare.layout import STYLE
from app.ui.generations.address import ALL, NEWEST, SORTS

_TICK = Path(__file__).with_name("generations.js").read_text(encoding="utf-8")
KINDS = [
    (N_("any"), ALL),
    (N_("online samples"), "online"),
    (N_("evaluation samples"), "eval"),
    (N_("probe answers"), "probe"),
    (N_("chat answers"), "chat"),
    (N_("campaign answers"), "campaign"),
]


@dataclass(frozen=True, slots=True)
class Filters:
    """The fields of the search."""

    text: gr.Textbox
    prompt: gr.Textbox
    run: gr.Dropdown
    kind: gr.Dropdown
    steps: gr.Textbox
    sort: gr.Dropdown
    campaign: gr.Textbox

    @property
    def inputs(self) -> list[Any]:
        return [self.text, self.prompt, self.run, self.kind, self.steps, self.sort, self.campaign]


@dataclass(frozen=True, slots=True)
class Layout:
    """All components; `chosen` holds the ids of the ticked texts."""

    header: gr.HTML
    body: gr.Column
    browse: gr.Column
    filters: Filters
    search: gr.Button
    found: gr.HTML
    compare: gr.Button
    message: gr.HTML
    chosen: gr.Textbox


def lay_out() -> Layout:
    """Lay out the whole page, hidden until it is known what the address asks for."""
    gr.HTML(STYLE, padding=False, visible="hidden")
    header = gr.HTML(widgets.loading())
    with gr.Column(visible=False, elem_classes="hy-page") as body:
        with gr.Column() as browse:
            search, (text, prompt, run, kind, steps, sort) = _fields()
        found = gr.HTML(js_on_load=_TICK, elem_id="generations-found")
    filters = Filters(text, prompt, run, kind, steps, sort, gr.Textbox(visible="hidden"))
    return Layout(
        header=header,
        body=body,
        browse=browse,
        filters=filters,
        search=search,
        found=found,
        compare=gr.Button(
            _("Compare these two"), variant="primary", scale=0, min_width=170, interactive=False,
            visible=False, elem_classes="hy-narrow", elem_id="generations-compare",
        ),
        message=gr.HTML(),
        chosen=gr.Textbox(visible="hidden", elem_id="generations-chosen"),
    )  # fmt: skip


def list_header() -> widgets.Html:
    return widgets.page_header(
        _("Generations"),
        _(
            "Every text that was generated: in training, evaluation, probes, chats and campaigns. "
            "Tick two answers to the same prompt to compare them."
        ),
    )


def one_header(number: int) -> widgets.Html:
    return widgets.page_header(_("Generation {number}", number=number))


def _fields() -> tuple[gr.Button, tuple[Any, ...]]:
    """The button, and the fields that are shown."""
    with gr.Row(elem_classes="hy-filters hy-search"):
        text = gr.Textbox(
            label=_("Text"),
            placeholder=_('words, "a phrase", -word'),
            max_lines=1,
            max_length=MOST_CHARS,
            scale=0,
        )
        prompt = gr.Textbox(
            label=_("Prompt"), placeholder=_("words, or #12"), max_lines=1, max_length=MOST_CHARS, scale=0
        )
        run = gr.Dropdown([], label=_("Runs"), multiselect=True, value=[], scale=0)
        kinds = [(_(title), value) for title, value in KINDS]
        kind = gr.Dropdown(kinds, label=_("Kind"), value=ALL, scale=0)
        steps = gr.Textbox(
            label=_("Steps"), placeholder=_("20 or 20-50"), max_lines=1, max_length=24, scale=0
        )
        sorts = [(_(title), value) for title, value in SORTS]
        sort = gr.Dropdown(sorts, label=_("Order"), value=NEWEST, scale=0)
        search = gr.Button(_("Search"), size="md", scale=0, min_width=100)
    return search, (text, prompt, run, kind, steps, sort)
