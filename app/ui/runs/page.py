"""The list of runs, and several overlaid; the address holds filters and choice, as in `runs?compare=3,4`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import gradio as gr
from markupsafe import Markup
from sqlalchemy.orm import Session

from app.deletion import delete_run
from app.errors import AppError
from app.store import datasets, metrics, run_lists, runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.store.models import Run
from app.text import clean_text
from app.ui import charts, events, formatting, paging, query, training, widgets
from app.ui.training import XAxis
from app.ui.widgets import Html
from hypo_engine.config import TrainConfig
from hypo_engine.measures import ACCURACY, KL

PAGE_ROWS = 50
MOST_CHOSEN = 200
MAX_OVERLAID = 8
ALL = ""
Seen = tuple[Any, ...]


def build() -> None:
    """Layout, then wiring."""
    gr.HTML(
        widgets.page_header(
            "Runs",
            "Tick runs to lay their curves over each other; the address can be shared.",
            widgets.link_button("Launch a run", "launch", primary=True),
        )
    )
    with gr.Row(elem_classes="hy-filters"):
        name = gr.Textbox(label="Name", placeholder="part of the name", max_lines=1, scale=0, min_width=220)
        method = gr.Dropdown(
            [("any", ALL), ("DPO", "dpo"), ("HyPO", "hypo")], label="Method", value=ALL, scale=0
        )
        status = gr.Dropdown(
            [("any", ALL), *((s.value, s.value) for s in RunStatus)], label="State", value=ALL, scale=0
        )
        dataset = gr.Dropdown([("any", ALL)], label="Dataset", value=ALL, scale=0, min_width=220)
    table = gr.HTML(widgets.LOADING, js_on_load=_TICK, elem_id="runs-table")
    pager = paging.controls()
    with gr.Row(elem_classes="hy-buttons"):
        overlay = gr.Button(
            "Overlay", size="md", variant="primary", scale=0, min_width=110, interactive=False
        )
        cancel = gr.Button("Cancel", size="md", scale=0, min_width=100, interactive=False)
        delete = gr.Button("Delete", size="md", scale=0, min_width=100, interactive=False)
        clone = gr.Button("Clone", size="md", scale=0, min_width=100, interactive=False)
    with gr.Group(visible=False, elem_classes="hy-confirm") as confirm:
        question = gr.HTML()
        with gr.Row(elem_classes="hy-buttons"):
            yes = gr.Button("Yes", variant="stop", size="md", min_width=160, scale=0)
            no = gr.Button("No", size="md", min_width=120, scale=0)
    message = gr.HTML()
    with gr.Column(visible=False, elem_id="overlay") as overlaid:
        with gr.Row(elem_classes="hy-split"):
            key = gr.HTML()
            x_axis = charts.axis_choice()
        with gr.Tabs():
            with gr.Tab("Charts"):
                panel = charts.panel(elem_id="runs-charts")
            with gr.Tab("Configuration"):
                only = gr.Checkbox(True, label="Show differences only", container=False)
                config = gr.HTML()
    chosen = gr.Textbox(visible="hidden", elem_id="runs-chosen")
    wanted, seen, drawn = gr.State(""), gr.State(()), gr.State(())

    # wiring
    filters: list[Any] = [name, method, status, dataset]
    timer = gr.Timer(events.BUSY_SECONDS)
    asked_for = [*filters, pager.page]
    listed = [table, seen, timer, *pager.outputs]
    events.on_load(restore, None, [*filters, chosen]).then(
        refresh, [*asked_for, seen], listed, **events.QUIET
    )
    pager.back.click(newer, asked_for, listed, js=_TO_TOP, **events.QUIET)
    pager.on.click(older, asked_for, listed, js=_TO_TOP, **events.QUIET)
    typed = [field.input for field in filters]
    changed = gr.on(typed, relist, filters, listed, trigger_mode="always_last", **events.QUIET)
    changed.then(None, filters, None, js=_ADDRESS)
    buttons = [overlay, cancel, delete, clone]
    chosen.change(enable, chosen, buttons, **events.QUIET)
    curves = [overlaid, key, panel, config, drawn]
    events.on_load(draw, [x_axis, only], curves)
    events.tick(timer, look_again, [*asked_for, seen, x_axis, only, drawn], [*listed, *curves])
    gr.on([x_axis.input, only.input], draw, [x_axis, only], curves, **events.QUIET)
    overlay.click(None, chosen, None, js=_COMPARE).then(draw, [x_axis, only], curves, **events.QUIET)
    clone.click(None, chosen, None, js=_CLONE)
    asked = [confirm, question, yes, wanted]
    cancel.click(ask_cancel, chosen, asked, **events.QUIET)
    delete.click(ask_delete, chosen, asked, **events.QUIET)
    no.click(lambda: (gr.update(visible=False), ""), None, [confirm, wanted], **events.QUIET)
    yes.click(confirmed, [wanted, chosen], [confirm, message], **events.QUIET).then(
        refresh, [*asked_for, seen], listed, **events.QUIET
    ).then(enable, chosen, buttons, **events.QUIET)


_TICK = Path(__file__).with_name("runs.js").read_text(encoding="utf-8")
_ADDRESS = "(name, method, status, dataset) => hySetQuery({ name, method, status, dataset })"
_COMPARE = """(ids) => {
  hySetQuery({ compare: ids }, true);
  setTimeout(() => document.querySelector('#overlay')?.scrollIntoView({ behavior: 'smooth' }), 700);
}"""
_TO_TOP = """(...given) => {
  document.querySelector('#runs-table')?.scrollIntoView({ block: 'start' });
  return given;
}"""
_CLONE = "(ids) => { window.location.href = 'launch?clone=' + ids.split(',')[0]; }"


# --- handlers: the list ----------------------------------------------------------------------


def restore(request: gr.Request) -> tuple[Any, ...]:
    """The filters and the choice that the address names."""
    with read_session() as session:
        names = list(dict.fromkeys(found.name for found in datasets.find(session=session)))
    method, status = query.value(request, "method"), query.value(request, "status")
    dataset = query.value(request, "dataset")
    return (
        query.value(request, "name"),
        method if method in ("dpo", "hypo") else ALL,
        status if status in list(RunStatus) else ALL,
        gr.update(
            choices=[("any", ALL), *((n, n) for n in names)], value=dataset if dataset in names else ALL
        ),
        ",".join(str(i) for i in query.ids(request, "compare")),
    )


def refresh(name: str, method: str, status: str, dataset: str, page: float, seen: Seen) -> tuple[Any, ...]:
    """A page of the list, where it is not the one seen: the table, what is seen, its pace, the pager."""
    number = paging.number_of(page)
    with read_session() as session:
        found = runs.find(
            session=session,
            method=method or None,
            status=RunStatus(status) if status else None,
            dataset_name=dataset or None,
            name=clean_text(name or "").strip() or None,
            limit=PAGE_ROWS + 1,
            offset=number * PAGE_ROWS,
        )
        filtered = bool(name or method or status or dataset)
        now = tuple(_print(run) for run in found), filtered, number
        if now == seen:
            return tuple(gr.skip() for _ in range(7))
        shown = found[:PAGE_ROWS]
        table = run_table(shown, filtered=filtered or number > 0, session=session)
    more = len(found) > PAGE_ROWS
    pace = events.pace(busy=any(not run.status.is_over for run in shown))
    return (table, now, pace, *paging.state(number, PAGE_ROWS, len(shown), more=more))


def newer(name: str, method: str, status: str, dataset: str, page: float) -> tuple[Any, ...]:
    return refresh(name, method, status, dataset, page - 1, ())


def older(name: str, method: str, status: str, dataset: str, page: float) -> tuple[Any, ...]:
    return refresh(name, method, status, dataset, page + 1, ())


def look_again(
    name: str,
    method: str,
    status: str,
    dataset: str,
    page: float,
    seen: Seen,
    x_axis: str,
    only_differences: bool,
    drawn: Seen,
    request: gr.Request,
) -> tuple[Any, ...]:
    """What is new in the list and in the overlaid curves, asked at once."""
    return (
        *refresh(name, method, status, dataset, page, seen),
        *redraw(x_axis, only_differences, drawn, request),
    )


def relist(name: str, method: str, status: str, dataset: str) -> tuple[Any, ...]:
    """The list from its first page, after a filter changed."""
    return refresh(name, method, status, dataset, 0, ())


def _print(run: Run) -> tuple[Any, ...]:
    return run.id, run.status.value, run.step, run.phase, run.wish.value, run.name


def run_table(found: Sequence[Run], *, filtered: bool, session: Session) -> Html:
    """Runs as a table with a box to tick for each."""
    if not found:
        return _nothing(filtered)
    rows = []
    places = run_lists.places_in_queue(found, session=session)
    over = [run.id for run in found if run.status.is_over]
    reached = run_lists.final_metrics(over, session=session)
    for run in found:
        box = Markup(
            '<input type="checkbox" class="hy-tick" data-run="{}" aria-label="Choose run {}">'
        ).format(run.id, run.id)
        who = Markup('{}<br><span class="hy-note">#{}{}</span>').format(
            widgets.link(run.name, "run", id=run.id), run.id, " · twin" if run.twin_group else ""
        )
        rows.append(
            (
                box,
                who,
                widgets.method_badge(run.method),
                widgets.status_badge(run.status),
                progress(run, places.get(run.id)),
                _reached(reached.get(run.id, {})),
                Markup("{} <span class='hy-note'>v{}</span>").format(
                    formatting.clip(run.dataset.name, 40), run.dataset.version
                ),
                formatting.ago(run.created_at),
            )
        )
    choose = Markup('<span class="hy-sr">Choose</span>')
    return widgets.table(
        [choose, "Run", "Method", "State", "Progress", ACCURACY.label, "Dataset", "Launched"],
        rows,
        caption="Runs, newest first",
    )


def _reached(last: Mapping[str, float]) -> Html:
    """Held-out accuracy, and the KL under it; each with its count or its standard error."""
    if ACCURACY.metric not in last and KL.metric not in last:
        return Markup("–")
    return Markup('{}<br><span class="hy-note">KL {}</span>').format(ACCURACY.text(last), KL.text(last))


def progress(run: Run, place: int | None) -> Html:
    """How far a run is, in a cell: the place in the queue, the bar, or how it ended."""
    if run.status is RunStatus.QUEUED:
        return Markup("place {} in the queue").format(place) if place else Markup("in the queue")
    if run.status is RunStatus.FAILED:
        return Markup('<span class="hy-why" title="{}">{}</span>').format(
            run.error, formatting.clip(run.error or "", 90)
        )
    if run.status is RunStatus.FINISHED:
        took = (
            (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
        )
        return Markup("{} in {}").format(formatting.count(run.step, "step"), formatting.duration(took))
    if run.status is RunStatus.CANCELLED and run.started_at is None:
        return Markup("not started")
    live = run.status is RunStatus.RUNNING
    return widgets.progress_bar(run.step, run.total_steps, seconds_left=runs.seconds_left(run), live=live)


def _nothing(filtered: bool) -> Html:
    if filtered:
        return widgets.empty_state(
            "No run matches", "Loosen the filters above.", widgets.link_button("Show all runs", "runs")
        )
    return widgets.empty_state(
        "No runs yet",
        "A run trains a model on a dataset of preference pairs. Twins train DPO and HyPO side by side.",
        widgets.link_button("Launch a run", "launch", primary=True),
    )


# --- handlers: what is done with chosen runs -------------------------------------------------


def _ids(chosen: str) -> list[int]:
    return query.to_ids(chosen or "")


def _chosen(chosen: str, session: Session) -> list[Run]:
    return runs.of_ids(_ids(chosen)[:MOST_CHOSEN], session=session)


def enable(chosen: str) -> tuple[Any, ...]:
    """Which buttons make sense for the chosen runs, and for how many."""
    with read_session() as session:
        picked = _chosen(chosen, session)
    live = sum(not run.status.is_over for run in picked)
    over = len(picked) - live
    return (
        gr.update(interactive=bool(picked), value=f"Overlay {len(picked)}" if picked else "Overlay"),
        gr.update(interactive=live > 0, value=f"Cancel {live}" if live else "Cancel"),
        gr.update(interactive=over > 0, value=f"Delete {over}" if over else "Delete"),
        gr.update(interactive=len(picked) == 1),
    )


def _named(picked: Sequence[Run]) -> str:
    return ", ".join(f"run {run.id} “{formatting.clip(run.name, 60)}”" for run in picked)


def ask_cancel(chosen: str) -> tuple[Any, ...]:
    """Name the runs that are about to be cancelled."""
    with read_session() as session:
        picked = [run for run in _chosen(chosen, session) if not run.status.is_over]
    sentence = widgets.escape(f"Cancel {_named(picked)}?")
    return gr.update(visible=bool(picked)), sentence, f"Yes, cancel {len(picked)}", "cancel"


def ask_delete(chosen: str) -> tuple[Any, ...]:
    """Name the runs that are about to be deleted."""
    with read_session() as session:
        picked = [run for run in _chosen(chosen, session) if run.status.is_over]
    sentence = widgets.escape(
        f"Delete {_named(picked)} with charts, samples and checkpoints? Answers and votes stay. "
        "This cannot be undone."
    )
    return gr.update(visible=bool(picked)), sentence, f"Yes, delete {len(picked)}", "delete"


def confirmed(wanted: str, chosen: str) -> tuple[Any, Html]:
    """Do what was asked and confirmed; say what could not be done."""
    problems = []
    with read_session() as session:
        picked = _chosen(chosen, session)
    for run in picked:
        try:
            if wanted == "cancel" and not run.status.is_over:
                with write_session() as session:
                    runs.request_cancel(run.id, session=session)
            elif wanted == "delete" and run.status.is_over:
                delete_run(run.id)
        except AppError as error:
            problems.append(str(error))
    said = widgets.error_banner(" ".join(problems)) if problems else widgets.NOTHING
    return gr.update(visible=False), said


# --- handlers: runs laid over each other -----------------------------------------------------


def draw(x_axis: str, only_differences: bool, request: gr.Request) -> tuple[Any, ...]:
    """Curves and configurations of the runs that the address names."""
    return redraw(x_axis, only_differences, (), request)


def redraw(x_axis: str, only_differences: bool, drawn: Seen, request: gr.Request) -> tuple[Any, ...]:
    """The same, where there are new points since."""
    ids = query.ids(request, "compare")[:MAX_OVERLAID]
    if not ids:
        return gr.update(visible=False), gr.skip(), gr.skip(), gr.skip(), ()
    with read_session() as session:
        picked = _chosen(",".join(map(str, ids)), session)
        now: Seen = (ids, metrics.revision(ids, session=session))
        if now == drawn:
            return tuple(gr.skip() for _ in range(5))
        points = training.load_points([run.id for run in picked], session=session)
    return (
        gr.update(visible=bool(picked)),
        training.legend(picked),
        training.figures(picked, points, x_axis=cast(XAxis, x_axis)),
        config_table(picked, only_differences=only_differences),
        now,
    )


def config_table(picked: Sequence[Run], *, only_differences: bool) -> Html:
    """The runs' configurations side by side."""
    rows = []
    for field, schema in TrainConfig.model_fields.items():
        values = [run.config.get(field) for run in picked]
        differ = len({str(value) for value in values}) > 1
        if differ or not only_differences:
            label = schema.title or field
            rows.append([label, *(Markup("<b>{}</b>").format(v) if differ else v for v in values)])
    versions = [f"{run.dataset.name} v{run.dataset.version}" for run in picked]
    if len(set(versions)) > 1 or not only_differences:
        rows.insert(0, ["Dataset", *versions])
    if not rows:
        return widgets.notice("The runs have the same settings.")
    heads = [
        Markup("{}<br>{}").format(widgets.method_badge(run.method), formatting.clip(run.name, 40))
        for run in picked
    ]
    return widgets.table(["Setting", *heads], rows, caption="Configurations", stack=False)
