"""The components of the results page, by section."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.ui import paging, widgets
from app.ui.compare.layout import STYLE
from app.ui.paging import Pager

ALL = ""
"""The value of an inactive filter."""

VERDICTS = [("any verdict", ALL), ("one preferred", "best"), ("tie", "tie"), ("both or all bad", "all_bad")]


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
    format: gr.Dropdown
    file_type: gr.Radio
    export: gr.Button
    whole: gr.Checkbox
    merge: gr.Checkbox
    people: gr.Checkbox
    archive: gr.Checkbox
    file: gr.Textbox
    name: gr.Textbox
    use: gr.Button
    used: gr.HTML


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
            "Results",
            "What the votes say, and the votes themselves.",
            widgets.link_button("Compare models", "compare"),
        )
    )
    empty = gr.HTML(visible=False)
    with gr.Column(visible=False) as body:
        return Layout(empty, body, _change(), *_boards(), _export(), _votes())


def _change() -> Change:
    label_id = gr.Number(0, visible="hidden", precision=0)
    with gr.Column(visible=False) as change:
        changing = gr.HTML()
        choice = gr.Radio([], label="Verdict")
        worst = gr.Radio([], label="Worst", visible=False)
        reason = gr.Textbox(label="Reason (optional)", max_lines=3, max_length=4000)
        with gr.Row():
            save = gr.Button("Save the vote", variant="primary", scale=0, min_width=150)
            withdraw = gr.Button("Withdraw it", variant="stop", scale=0, min_width=150)
            close = gr.Button("Leave it", scale=0, min_width=110)
    return Change(label_id, change, changing, choice, worst, reason, save, withdraw, close)


def _boards() -> tuple[Ranking, Board]:
    hidden = gr.HTML(visible=False)
    show_names = gr.Button(
        "Show all names", size="sm", visible=False, elem_classes="hy-narrow", elem_id="hy-show-names"
    )
    ranking = Ranking(
        gr.HTML(),
        gr.Dropdown([], label="Win rates against", visible=False, elem_classes="hy-against"),
        gr.HTML(),
    )
    return ranking, Board(
        hidden=hidden,
        show_names=show_names,
        board=gr.HTML(),
        records=paging.controls("records", back="Back", on="More"),
        habits=gr.HTML(),
    )


LAYOUTS = [
    ("trl: prompt, chosen, rejected", "trl"),
    ("kto: prompt, completion, label", "kto"),
    ("arena: LMArena's columns", "arena"),
    ("argilla: a record for each comparison", "argilla"),
    ("raw: one row for each vote, with everything", "raw"),
]


def _export() -> Export:
    gr.HTML('<h2 class="hy-h2" style="margin-top:18px">Export</h2>')
    counts = gr.HTML()
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            format = gr.Dropdown(LAYOUTS, value="trl", label="Format")
            file_type = gr.Radio(
                [("JSONL", "jsonl"), ("CSV", "csv"), ("Parquet", "parquet")], value="jsonl", label="File"
            )
            whole = gr.Checkbox(
                label="Whole answers only",
                info="trl, kto: leave out answers that were cut at the length limit.",
            )
            merge = gr.Checkbox(
                label="One row for each comparison",
                info="trl: several votes become one pair with votes, weight, margin and soft_label.",
            )
            people = gr.Checkbox(label="Voters' names", info="Otherwise voters have pseudonyms.")
            archive = gr.Checkbox(
                label="With a manifest",
                info="A zip with the file, its filters, counts, columns and hash.",
            )
            export = gr.Button("Download")
            file = gr.Textbox(visible="hidden")
        with gr.Column(min_width=320):
            name = gr.Textbox(
                "votes", label="Dataset", info="An existing name gets a new version.", max_length=100
            )
            use = gr.Button("Use as dataset", variant="primary")
            used = gr.HTML()
    boxes = whole, merge, people, archive
    return Export(counts, format, file_type, export, *boxes, file, name, use, used)


def _votes() -> Votes:
    gr.HTML('<h2 class="hy-h2" style="margin-top:18px">Votes</h2>')
    with gr.Row():
        who = gr.Dropdown([("everybody", ALL)], value=ALL, label="Who", min_width=150)
        verdict = gr.Dropdown(VERDICTS, value=ALL, label="Verdict", min_width=150)
        run = gr.Dropdown([("any run", ALL)], value=ALL, label="Run", min_width=150)
    return Votes(who, verdict, run, gr.HTML(), paging.controls())
