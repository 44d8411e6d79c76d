"""Results: who wins, what sways the votes, the votes themselves, and the way out as a file or a dataset."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from app import answers
from app.board import read_board
from app.errors import NotFound, Refused
from app.exports import labels as exports
from app.exports.labels import LabelFormat
from app.exports.writers import FileType
from app.store import labels, runs
from app.store.db import read_session
from app.store.enums import Choice
from app.store.judging import LETTERS
from app.store.labels import VoteFilter
from app.store.vote_details import Vote
from app.ui import events, formatting, paging, query, widgets
from app.ui.compare import page as compare_page
from app.ui.compare.actions import asks_anew, saying_why
from app.ui.results import view as results_view
from app.ui.results import win_rates

PAGE_ROWS = 20
ALL = ""
VERDICTS = [("any verdict", ALL), ("one preferred", "best"), ("tie", "tie"), ("both or all bad", "all_bad")]

Parts = dict[str, Any]
Shown = list[Any]


def build() -> None:
    """Lay the page out, then say what happens."""
    parts: Parts = {}
    gr.HTML(compare_page.STYLE, padding=False, visible="hidden")
    gr.HTML(
        widgets.page_header(
            "Results",
            "What the votes say, and the votes themselves.",
            widgets.link_button("Compare models", "compare"),
        )
    )
    parts["empty"] = gr.HTML(visible=False)
    with gr.Column(visible=False) as parts["body"]:
        _lay_out_change(parts)
        parts["hidden"] = gr.HTML(visible=False)
        parts["show_names"] = gr.Button(
            "Show all names", size="sm", visible=False, elem_classes="hy-narrow", elem_id="hy-show-names"
        )
        parts["board"] = gr.HTML()
        parts["records"] = paging.controls("Back", "More")
        parts["habits"] = gr.HTML()
        _lay_out_way_out(parts)
        _lay_out_list(parts)
    _wire(parts)


# --- layout ----------------------------------------------------------------------------------


def _lay_out_way_out(parts: Parts) -> None:
    gr.HTML('<h2 class="hy-h2" style="margin-top:18px">Export</h2>')
    parts["counts"] = gr.HTML()
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            parts["format"] = gr.Radio(
                [("trl: prompt, chosen, rejected", "trl"), ("raw: one row a vote, with everything", "raw")],
                value="trl",
                label="Format",
            )
            with gr.Row():
                parts["file_type"] = gr.Radio(
                    [("JSONL", "jsonl"), ("CSV", "csv"), ("Parquet", "parquet")],
                    value="jsonl",
                    label="File",
                    min_width=220,
                )
                parts["export"] = gr.Button("Download", scale=0, min_width=130)
            parts["whole"] = gr.Checkbox(
                label="Whole answers only",
                info="Leave pairs out whose answers were cut at the length limit.",
            )
            parts["file"] = gr.Textbox(visible="hidden")
        with gr.Column(min_width=320):
            parts["name"] = gr.Textbox(
                "votes",
                label="Dataset",
                info="A known name gets a new version.",
                max_length=100,
            )
            parts["use"] = gr.Button("Use as dataset", variant="primary")
            parts["used"] = gr.HTML()


def _lay_out_change(parts: Parts) -> None:
    parts["label_id"] = gr.Number(0, visible="hidden", precision=0)
    with gr.Column(visible=False) as parts["change"]:
        parts["changing"] = gr.HTML()
        parts["choice"] = gr.Radio([], label="Verdict")
        parts["worst"] = gr.Radio([], label="Worst", visible=False)
        parts["reason"] = gr.Textbox(label="Reason (optional)", max_lines=3, max_length=4000)
        with gr.Row():
            parts["save"] = gr.Button("Save the vote", variant="primary", scale=0, min_width=150)
            parts["withdraw"] = gr.Button("Withdraw it", variant="stop", scale=0, min_width=150)
            parts["close"] = gr.Button("Leave it", scale=0, min_width=110)


def _lay_out_list(parts: Parts) -> None:
    gr.HTML('<h2 class="hy-h2" style="margin-top:18px">Votes</h2>')
    with gr.Row():
        parts["who"] = gr.Dropdown([("everybody", ALL)], value=ALL, label="Who", min_width=150)
        parts["verdict"] = gr.Dropdown(VERDICTS, value=ALL, label="Verdict", min_width=150)
        parts["run"] = gr.Dropdown([("any run", ALL)], value=ALL, label="Run", min_width=150)
    parts["list"] = gr.HTML()
    parts["pager"] = paging.controls()


# --- handlers --------------------------------------------------------------------------------

OPENED = (
    "empty",
    "body",
    "hidden",
    "show_names",
    "board",
    "records",
    "habits",
    "counts",
    "who",
    "run",
    "list",
    "pager",
)
"""Parts of the page; a pager is several components."""
CHANGED = ("label_id", "change", "changing", "choice", "worst", "reason")


def open_page(request: gr.Request | None = None) -> Shown:
    """Everything, in the order of OPENED and then CHANGED."""
    return [*overview(request), *open_change(request)]


def overview(request: gr.Request | None = None) -> Shown:
    """The board, the counts and the first page of the list, in the order of OPENED."""
    user = query.username(request)
    with read_session() as session:
        board = read_board(session=session, viewer=user)
        people = labels.voters(session=session)
        known = runs.find(session=session)
    if board.votes + board.hidden == 0:
        hidden = gr.update(visible=False)
        return [
            gr.update(value=results_view.nothing_yet(), visible=True), hidden,
            *[gr.skip()] * (len(OPENED) - 2 + 2 * (paging.PARTS - 1)),
        ]  # fmt: skip
    of_runs = [(f"#{run.id} {run.name}", str(run.id)) for run in known]
    return [
        gr.update(visible=False),
        gr.update(visible=True),
        gr.update(value=results_view.names_hidden(board.hidden), visible=board.hidden > 0),
        gr.update(visible=board.hidden > 0),
        *win_rates.of(board.records, 0, board.record_count),
        results_view.habits(board) if board.votes else "",
        counts(False),
        gr.update(choices=[("everybody", ALL), *((name, name) for name in people)], value=ALL),
        gr.update(choices=[("any run", ALL), *of_runs], value=ALL),
        *list_votes(ALL, ALL, ALL, 0, request),
    ]


def counts(whole: bool) -> str:
    """How many training pairs the votes make, all or those of whole answers only."""
    return results_view.export_counts(exports.count_trl(leave_out_cut=whole))


def show_names(request: gr.Request | None = None) -> Shown:
    """Show the names of all votes; the reader's later votes on these comparisons are not blind."""
    user = query.username(request)
    saying_why(lambda: answers.show_all_names(user=user))
    return overview(request)


def list_votes(who: str, verdict: str, run: str, page: float, request: gr.Request | None = None) -> Shown:
    """A page of the votes that match, and its pager."""
    only = VoteFilter(
        user=who or None,
        choice=Choice(verdict) if verdict else None,
        run_id=int(run) if run else None,
    )
    number, user = paging.number_of(page), query.username(request)
    with read_session() as session:
        found = labels.votes(
            session=session, only=only, limit=PAGE_ROWS + 1, offset=number * PAGE_ROWS, viewer=user
        )
    shown = found[:PAGE_ROWS]
    answers.record_shown(shown, user=user)
    table = (
        results_view.vote_list(shown, user=user)
        if shown
        else widgets.notice("No vote matches. Widen the filters.")
    )
    return [table, *paging.state(number, PAGE_ROWS, len(shown), more=len(found) > PAGE_ROWS)]


def first_page(who: str, verdict: str, run: str, request: gr.Request | None = None) -> Shown:
    return list_votes(who, verdict, run, 0, request)


def newer(who: str, verdict: str, run: str, page: float, request: gr.Request | None = None) -> Shown:
    return list_votes(who, verdict, run, page - 1, request)


def older(who: str, verdict: str, run: str, page: float, request: gr.Request | None = None) -> Shown:
    return list_votes(who, verdict, run, page + 1, request)


def export(format: str, file_type: str, whole: bool, request: gr.Request | None = None) -> str:
    """Where the browser gets the file, which the API makes while it is sent; and what it leaves out."""
    kind, ending = LabelFormat(format), FileType(file_type)
    if kind is LabelFormat.TRL and exports.count_trl(leave_out_cut=whole).rows == 0:
        gr.Warning("The file has no rows: no vote prefers one answer to another yet.")
    if kind is LabelFormat.RAW:
        with read_session() as session:
            hidden = labels.count_hidden(query.username(request), session=session)
        if hidden:
            rows = formatting.count(hidden, "vote")
            gr.Info(f"The file leaves out the names of {rows} that you may still judge blind.", duration=8)
    given = {"format": kind.value, "file_type": ending.value, "whole": "true" if whole else ""}
    return widgets.url("api/v1/votes/export", **given)


def use_as_dataset(name: str, whole: bool = False) -> str:
    """Make the votes the next version of a dataset."""
    added = saying_why(lambda: exports.use_as_dataset(name, leave_out_cut=whole))
    return results_view.became_dataset(added.name, added.version, added.rows, added.id)


# --- changing a vote -------------------------------------------------------------------------


def open_change(request: gr.Request | None = None) -> Shown:
    """The vote that the address names, opened for its voter; in the order of CHANGED."""
    wanted = query.ids(request, "vote")
    if not wanted:
        return closed()
    vote = _own_vote(wanted[0], query.username(request))
    return closed() if vote is None else _opened(vote)


def _opened(vote: Vote) -> Shown:
    two = len(vote.sides) == 2
    best = "is better" if two else "is best"
    titles = [(f"{side.letter} · {side.contender.name}", side.letter) for side in vote.sides]
    verdicts = [(f"{title} {best}", letter) for title, letter in titles]
    verdicts += [("Tie" if two else "All alike", "tie"), ("Both bad" if two else "All bad", "both bad")]
    return [
        vote.label.id,
        gr.update(visible=True),
        results_view.changing(vote),
        gr.update(choices=verdicts, value=_verdict(vote)),
        gr.update(choices=titles, value=vote.worst.letter if vote.worst else None, visible=not two),
        gr.update(value=vote.label.reason, placeholder=""),
    ]


def ask_anew(
    label_id: float, choice: str | None, worst: str | None, reason: str, request: gr.Request | None = None
) -> Any:
    """Empty the reason when another verdict is chosen: the old one was given for another vote."""
    vote = _own_vote(int(label_id or 0), query.username(request))
    if vote is None or not asks_anew(vote.label, reason, changed=_changed(vote, choice, worst)):
        return gr.skip()
    return gr.update(value="", placeholder="The verdict is another; say why anew.")


def _own_vote(label_id: int, user: str) -> Vote | None:
    try:
        with read_session() as session:
            vote = labels.details(label_id, session=session)
    except NotFound:
        return None
    return vote if vote.user == user else None


def _changed(vote: Vote, choice: str | None, worst: str | None) -> bool:
    """Whether the form names another verdict than a vote."""
    before = _verdict(vote)
    if choice != before or vote.worst is None or len(vote.sides) == 2:
        return choice != before
    return worst != vote.worst.letter


def _verdict(vote: Vote) -> str | None:
    words = {Choice.TIE: "tie", Choice.ALL_BAD: "both bad"}
    return vote.best.letter if vote.best else words.get(vote.label.choice)


def closed() -> Shown:
    """No vote is being changed."""
    return [0, gr.update(visible=False), *[gr.skip()] * (len(CHANGED) - 2)]


def save(
    label_id: float, choice: str, worst: str | None, reason: str, request: gr.Request | None = None
) -> Shown:
    """Store the changed vote, then show everything anew."""
    user = query.username(request)

    def act() -> None:
        with read_session() as session:
            vote = labels.details(int(label_id), session=session)
        if vote.user != user:
            raise Refused(f"This vote is {vote.user}'s; people change their own votes.")
        names_worst = len(vote.sides) > 2 and choice in LETTERS
        anew = asks_anew(vote.label, reason, changed=_changed(vote, choice, worst))
        if _changed(vote, choice, worst):
            said = "" if anew else reason
            answers.vote(
                vote.comparison.id, choice, user=user, worst=(worst or "") if names_worst else "", reason=said
            )
        else:
            answers.explain(vote.label.id, reason, user=user)

    saying_why(act)
    gr.Info("The vote is changed.", duration=3)
    return [*overview(request), *closed()]


def withdraw(label_id: float, request: gr.Request | None = None) -> Shown:
    """Take the vote back, then show everything anew."""

    def act() -> None:
        answers.withdraw(int(label_id), user=query.username(request))

    saying_why(act)
    gr.Info("The vote is withdrawn.", duration=3)
    return [*overview(request), *closed()]


# --- wiring ----------------------------------------------------------------------------------


def _components(parts: Parts, names: Sequence[str]) -> list[Any]:
    """The components of parts, in order."""
    found: list[Any] = []
    for name in names:
        part = parts[name]
        found += part.outputs if isinstance(part, paging.Pager) else [part]
    return found


def _wire(parts: Parts) -> None:
    quiet: dict[str, Any] = {**events.QUIET, "concurrency_limit": None}
    opened = _components(parts, OPENED)
    everything = [*opened, *_components(parts, CHANGED)]
    filters = [parts[name] for name in ("who", "verdict", "run")]
    pager, records = parts["pager"], parts["records"]
    page, of_records = [parts["list"], *pager.outputs], [parts["board"], *records.outputs]
    events.on_load(open_page, None, everything)
    for chosen in filters:
        chosen.input(first_page, filters, page, **quiet)
    pager.back.click(newer, [*filters, pager.page], page, **quiet)
    pager.on.click(older, [*filters, pager.page], page, **quiet)
    records.back.click(win_rates.back, records.page, of_records, **quiet)
    records.on.click(win_rates.on, records.page, of_records, **quiet)
    to_export = [parts[name] for name in ("format", "file_type", "whole")]
    parts["whole"].input(counts, parts["whole"], parts["counts"], **quiet)
    parts["show_names"].click(show_names, None, opened, **quiet)
    parts["export"].click(export, to_export, parts["file"], **quiet).success(
        None, parts["file"], None, js="(address) => { window.location.href = address; }"
    )
    to_use = [parts["name"], parts["whole"]]
    parts["use"].click(use_as_dataset, to_use, parts["used"], trigger_mode="once", **quiet)
    given = [parts[name] for name in ("label_id", "choice", "worst", "reason")]
    for chosen in (parts["choice"], parts["worst"]):
        chosen.input(ask_anew, given, parts["reason"], **quiet)
    parts["save"].click(save, given, everything, **quiet)
    parts["withdraw"].click(withdraw, parts["label_id"], everything, **quiet)
    parts["close"].click(closed, None, [parts[name] for name in CHANGED], **quiet)
