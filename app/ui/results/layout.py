"""The components of the results page, by section."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from app.i18n import N_, _
from app.ui import charts, paging, widgets
from app.ui.compare.layout import STYLE
from app.ui.paging import Pager

ALL = ""
"""The value of an inactive filter."""

VERDICTS = [
    (N_("any verdict"), ALL),
    (N_("one preferred"), "best"),
    (N_("tie"), "tie"),
    (N_("both or all bad"), "all_bad"),
]


@dataclass(frozen=True, slots=True)
class Change:
    """The form that changes a vote."""

    label_id: gr.Number
    change: gr.Column
    changing: gr.HTML
    choice: gr.Radio
    worst: gr.Radio
    reason: gr.Textbox
    save: gr.Button
    withdraw: gr.Button
    close: gr.Button


@dataclass(frozen=True, slots=True)
class Ranking:
    """The ranking of all models, and the win rates against one of them."""

    ranking: gr.HTML
    reference: gr.Dropdown
    against: gr.HTML


@dataclass(frozen=True, slots=True)
class Board:
    """The win rates and the voters' biases."""

    hidden: gr.HTML
    show_names: gr.Button
    board: gr.HTML
    records: Pager
    habits: gr.HTML


@dataclass(frozen=True, slots=True)
class Export:
    """The votes as a file, or as a dataset."""

    counts: gr.HTML
    campaign: gr.Dropdown
    of_run: gr.Dropdown
    blind: gr.Checkbox
    format: gr.Dropdown
    file_type: gr.Radio
    export: gr.Button
    whole: gr.Checkbox
    merge: gr.Checkbox
    people: gr.Checkbox
    archive: gr.Checkbox
    file: gr.Textbox
    name: gr.Textbox
    bad: gr.Checkbox
    use: gr.Button
    used: gr.HTML

    @property
    def filters(self) -> list[Any]:
        """What is left out: cut answers, and the votes of other campaigns and runs, or not blind."""
        return [self.whole, self.campaign, self.of_run, self.blind]


@dataclass(frozen=True, slots=True)
class Votes:
    """The list of votes with its filters."""

    who: gr.Dropdown
    verdict: gr.Dropdown
    run: gr.Dropdown
    table: gr.HTML
    pager: Pager

    @property
    def filters(self) -> list[Any]:
        return [self.who, self.verdict, self.run]


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections; `empty` replaces them while there are no votes."""

    empty: gr.HTML
    body: gr.Column
    change: Change
    ranking: Ranking
    board: Board
    export: Export
    votes: Votes


def lay_out() -> Layout:
    """Lay out the whole page."""
    gr.HTML(STYLE, padding=False, visible="hidden")
    gr.HTML(
        widgets.page_header(
            _("Results"),
            _("What the votes say, and the votes themselves."),
            widgets.link_button(_("Compare models"), "compare"),
        )
    )
    empty = gr.HTML(visible=False)
    with gr.Column(visible=False) as body:
        return Layout(empty, body, _change(), *_boards(), _export(), _votes())


def _change() -> Change:
    label_id = gr.Number(0, visible="hidden", precision=0)
    with gr.Column(visible=False) as change:
        changing = gr.HTML()
        choice = gr.Radio([], label=_("Verdict"))
        worst = gr.Radio([], label=_("Worst"), visible=False)
        reason = gr.Textbox(label=_("Reason (optional)"), max_lines=3, max_length=4000)
        with gr.Row():
            save = gr.Button(_("Save the vote"), variant="primary", scale=0, min_width=150)
            withdraw = gr.Button(_("Withdraw it"), variant="stop", scale=0, min_width=150)
            close = gr.Button(_("Leave it"), scale=0, min_width=110)
    return Change(label_id, change, changing, choice, worst, reason, save, withdraw, close)


def _boards() -> tuple[Ranking, Board]:
    hidden = gr.HTML(visible=False)
    show_names = gr.Button(
        _("Show all names"), size="sm", visible=False, elem_classes="hy-narrow", elem_id="hy-show-names"
    )
    ranking = Ranking(
        gr.HTML(js_on_load=charts.PICTURES),
        gr.Dropdown([], label=_("Win rates against"), visible=False, elem_classes="hy-against"),
        gr.HTML(),
    )
    return ranking, Board(
        hidden=hidden,
        show_names=show_names,
        board=gr.HTML(),
        records=paging.controls("records", back=_("Back"), on=_("More")),
        habits=gr.HTML(),
    )


LAYOUTS = [
    (N_("trl: prompt, chosen, rejected"), "trl"),
    (N_("kto: prompt, completion, label"), "kto"),
    (N_("arena: LMArena's columns"), "arena"),
    (N_("argilla: a record for each comparison"), "argilla"),
    (N_("raw: one row for each vote, with everything"), "raw"),
]
FILE_TYPES = [("JSONL", "jsonl"), ("CSV", "csv"), ("Parquet", "parquet")]


def layouts() -> list[tuple[str, str]]:
    """The formats of exported votes, as choices."""
    return [(_(title), value) for title, value in LAYOUTS]


def _export() -> Export:
    gr.HTML(Markup('<h2 class="hy-h2" style="margin-top:18px">{}</h2>').format(_("Export")))
    counts = gr.HTML()
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            with gr.Row():
                any_campaign = [(_("any campaign"), ALL)]
                campaign = gr.Dropdown(any_campaign, value=ALL, label=_("Votes of a campaign"), min_width=150)
                of_run = gr.Dropdown(
                    [(_("any run"), ALL)], value=ALL, label=_("Votes on a run"), min_width=150
                )
            blind = gr.Checkbox(label=_("Blind votes only"))
            format = gr.Dropdown(layouts(), value="trl", label=_("Format"))
            file_type = gr.Radio(FILE_TYPES, value="jsonl", label=_("File"))
            whole = gr.Checkbox(
                label=_("Whole answers only"),
                info=_("trl, kto: leave out answers that were cut at the length limit."),
            )
            merge = gr.Checkbox(
                label=_("One row for each comparison"),
                info=_("trl: several votes become one pair with votes, weight, margin and soft_label."),
            )
            people = gr.Checkbox(label=_("Voters' names"), info=_("Otherwise voters have pseudonyms."))
            archive = gr.Checkbox(
                label=_("With a manifest"),
                info=_("A zip with the file, its filters, counts, columns and hash."),
            )
            export = gr.Button(_("Download"))
            file = gr.Textbox(visible="hidden")
        with gr.Column(min_width=320):
            name = gr.Textbox(
                "votes", label=_("Dataset"), info=_("An existing name gets a new version."), max_length=100
            )
            bad = gr.Checkbox(
                label=_("Also answers judged bad, for KTO"),
                info=_("Votes that find all answers bad become rows with one answer."),
            )
            use = gr.Button(_("Use as dataset"), variant="primary")
            used = gr.HTML()
    boxes = whole, merge, people, archive
    shown = counts, campaign, of_run, blind, format, file_type, export
    return Export(*shown, *boxes, file, name, bad, use, used)


def _votes() -> Votes:
    gr.HTML(Markup('<h2 class="hy-h2" style="margin-top:18px">{}</h2>').format(_("Votes")))
    with gr.Row():
        who = gr.Dropdown([(_("everybody"), ALL)], value=ALL, label=_("Who"), min_width=150)
        verdicts = [(_(title), value) for title, value in VERDICTS]
        verdict = gr.Dropdown(verdicts, value=ALL, label=_("Verdict"), min_width=150)
        run = gr.Dropdown([(_("any run"), ALL)], value=ALL, label=_("Run"), min_width=150)
    return Votes(who, verdict, run, gr.HTML(), paging.controls())
