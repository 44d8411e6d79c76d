"""The run page: `run?id=N`. It reads rows on a timer, so it can be closed and reloaded at any time."""

from typing import Any, cast

import gradio as gr
from markupsafe import Markup
from sqlalchemy.orm import Session

from app import artifacts
from app.deletion import delete_run
from app.errors import AppError, NotFound
from app.launch import resume
from app.security import files
from app.store import metrics, retention, runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.store.models import Run
from app.ui import charts, events, query, training, widgets
from app.ui.commands import launch_command, to_yaml
from app.ui.run import doctor, samples
from app.ui.run import view as run_view
from app.ui.training import XAxis
from app.ui.widgets import Html

SECONDS = 1.5
Seen = tuple[Any, ...]
FIRST, LATEST = 0, samples.LATEST


def build() -> None:
    """Layout, then wiring."""
    header = gr.HTML(widgets.LOADING)
    with gr.Column(visible=False, elem_classes="hy-page") as body:
        status = gr.HTML()
        facts = gr.HTML()
        with gr.Row(elem_classes="hy-buttons"):
            cancel = gr.Button("Cancel run", size="md", min_width=120, scale=0, visible=False)
            resume = gr.Button("Resume run", size="md", min_width=120, scale=0, visible=False)
            export = gr.Button("Export adapter (zip)", size="md", min_width=190, scale=0, visible=False)
            delete = gr.Button("Delete run", size="md", min_width=120, scale=0, visible=False)
        download = gr.DownloadButton(visible="hidden", elem_id="hy-download")
        with gr.Group(visible=False, elem_classes="hy-confirm") as confirm:
            question = gr.HTML()
            wanted = gr.State("")
            with gr.Row(elem_classes="hy-buttons"):
                yes = gr.Button("Yes", variant="stop", size="md", min_width=160, scale=0)
                no = gr.Button("No, keep it", size="md", min_width=120, scale=0)
        message = gr.HTML()
        with gr.Tabs():
            with gr.Tab("Charts", id="charts"):
                advice = gr.HTML()
                with gr.Row(elem_classes="hy-split"):
                    key = gr.HTML()
                    x_axis = charts.axis_choice()
                panel = charts.panel(elem_id="run-charts")
            with gr.Tab("Samples", id="samples"):
                with gr.Row(elem_classes="hy-filters"):
                    before = gr.Dropdown([("before training", FIRST)], value=FIRST, label="Earlier", scale=0)
                    after = gr.Dropdown([("latest", LATEST)], value=LATEST, label="Later", scale=0)
                probes = gr.HTML()
            with gr.Tab("Online samples", id="online"):
                online = gr.HTML()
                with gr.Row(elem_classes="hy-buttons"):
                    newer = gr.Button("Newer", size="sm", scale=0, min_width=90)
                    older = gr.Button("Older", size="sm", scale=0, min_width=90)
                page = gr.State(1)
            with gr.Tab("Log", id="log"):
                log = gr.HTML()
            with gr.Tab("Configuration", id="config"):
                command = gr.Code(label="Command", interactive=False)
                config = gr.HTML()
                yaml = gr.Code(label="YAML", interactive=False)
    seen = gr.State(())

    # wiring
    shown = [seen, header, body, status, facts, cancel, resume, export, delete, log]
    drawn = [advice, key, panel]
    sampled = [before, after, probes, online]
    timer = gr.Timer(SECONDS)
    everything = [*shown, *drawn, *sampled, timer]
    watched = [seen, x_axis, before, after, page]
    events.on_load(refresh, watched, everything).then(settings, None, [config, yaml, command], **events.QUIET)
    events.tick(timer, refresh, watched, everything)
    gr.on([x_axis.input, before.input, after.input], refresh_all, watched[1:], everything, **events.QUIET)
    newer.click(lambda p: max(1, p - 1), page, page, **events.QUIET).then(
        turn, page, [online, page], **events.QUIET
    )
    older.click(lambda p: p + 1, page, page, **events.QUIET).then(turn, page, [online, page], **events.QUIET)
    asked = [confirm, question, yes, wanted]
    cancel.click(ask_cancel, None, asked, **events.QUIET)
    delete.click(ask_delete, None, asked, **events.QUIET)
    resume.click(resume_run, None, message, show_progress_on=resume, api_visibility="private")
    no.click(lambda: (gr.update(visible=False), ""), None, [confirm, wanted], **events.QUIET)
    yes.click(confirmed, wanted, [confirm, message, wanted], **events.QUIET)
    exporting: dict[str, Any] = {
        "show_progress_on": export,
        "api_visibility": "private",
        "concurrency_limit": 2,
    }
    export.click(export_zip, None, download, **exporting).success(None, None, None, js=events.CLICK_DOWNLOAD)


# --- handlers --------------------------------------------------------------------------------


def _run_id(request: gr.Request | None) -> int:
    ids = query.ids(request, "id")
    if not ids:
        raise NotFound("The address names no run.")
    return ids[0]


def refresh(
    seen: Seen, x_axis: str, before: int, after: int, page: int, request: gr.Request
) -> tuple[Any, ...]:
    """Everything on the page that has changed since `seen`; the rest is left alone."""
    with read_session() as session:
        try:
            run = runs.get(_run_id(request), session=session)
        except NotFound as error:
            return _missing(seen, str(error))
        twins = list(runs.twins_of(run, session=session))
        ids = [twin.id for twin in twins]
        state = _state(run, twins, session)
        points = (metrics.revision(ids, session=session), run.status.is_over)
        now: Seen = (state, points, page)
        old = seen if len(seen) == 3 else ((), (), 0)
        shown = _shown(run, twins, session) if state != old[0] else _skip(9)
        drawn = _drawn(run, twins, x_axis, session) if points != old[1] else _skip(3)
        sampled = (
            _sampled(run, twins, before, after, page, session) if now[1:] != tuple(old[1:]) else _skip(4)
        )
        # nothing changes any more once a run and its twin are over: the page stops asking
        going_on = any(not twin.status.is_over for twin in twins)
        timer = gr.Timer(active=going_on) if state != old[0] else gr.skip()
    return (now if now != tuple(seen) else gr.skip(), *shown, *drawn, *sampled, timer)


def refresh_all(x_axis: str, before: int, after: int, page: int, request: gr.Request) -> tuple[Any, ...]:
    """The whole page anew, after somebody chose to see something else."""
    return refresh((), x_axis, before, after, page, request)


def _missing(seen: Seen, reason: str) -> tuple[Any, ...]:
    if seen == ("missing",):
        return tuple(_skip(17))
    page = widgets.empty_state(
        "There is no such run",
        f"{reason.split(';')[0].rstrip('.')}. It may have been deleted.",
        widgets.link_button("All runs", "runs", primary=True),
        widgets.link_button("Launch a run", "launch"),
    )
    header = widgets.join([widgets.page_header("Run not found"), page])
    return (("missing",), header, gr.update(visible=False), *_skip(14), gr.Timer(active=False))


def _skip(count: int) -> list[Any]:
    return [gr.skip() for _ in range(count)]


def _state(run: Run, twins: list[Run], session: Session) -> tuple[Any, ...]:
    """All that the upper part of the page depends on."""
    queue = runs.place_in_queue(run, session=session)
    checkpoint = runs.last_checkpoint(run.id, session=session)
    return (
        [(twin.id, twin.status.value, twin.wish.value) for twin in twins],
        (run.step, run.total_steps, run.phase, run.attempt, queue, run.name),
        checkpoint.id if checkpoint else None,
        runs.last_event_id([run.id], session=session),
    )


def _shown(run: Run, twins: list[Run], session: Session) -> list[Any]:
    can = run_view.actions(run, session=session)
    return [
        run_view.header(run, twins),
        gr.update(visible=True),
        widgets.join(
            [
                run_view.status(run, session=session),
                run_view.nothing_measured(run, session=session),
                run_view.pairs_left_out(run, session=session),
            ]
        ),
        run_view.run_facts(run, retention.disk_use(run.id, session=session)),
        gr.update(visible=can.cancel, value=f"Cancel run {run.id}"),
        gr.update(visible=can.resume, value=f"Resume run {run.id}"),
        gr.update(
            visible=can.export,
            value="Export adapter (zip)" if run.config.get("lora_r") else "Export model (zip)",
        ),
        gr.update(visible=can.delete),
        run_view.log(runs.events(run.id, session=session)),
    ]


def _drawn(run: Run, twins: list[Run], x_axis: str, session: Session) -> list[Any]:
    points = training.load_points([twin.id for twin in twins], session=session)
    if not points:
        return [_no_curves(run), widgets.NOTHING, []]
    curves = metrics.series([run.id], doctor.DOCTOR_NAMES, session=session)
    findings = doctor.examine(
        {name: values for (_, name), values in curves.items()},
        beta=float(run.config["beta"]),
        kept={checkpoint.step for checkpoint in runs.checkpoints(run.id, session=session)},
    )
    return [
        run_view.findings(findings),
        training.legend(twins),
        training.figures(twins, points, x_axis=cast(XAxis, x_axis)),
    ]


def _no_curves(run: Run) -> Html:
    if run.status.is_over:
        return widgets.empty_state("No curves", "The run ended before its first evaluation.")
    return widgets.empty_state(
        "No curves yet",
        "They begin with the first evaluation, before the first step; this page follows by itself.",
    )


def _sampled(run: Run, twins: list[Run], before: int, after: int, page: int, session: Session) -> list[Any]:
    ordered = [run, *(twin for twin in twins if twin.id != run.id)]
    steps = samples.probe_steps(ordered, session=session)
    first = steps[0] if steps else FIRST
    before = before if before in steps else first
    after = after if after in steps else LATEST
    names = [("before training" if step == 0 else f"step {step}", step) for step in steps]
    html, _ = samples.online(run.id, page, session=session)
    return [
        gr.update(choices=names or [("before training", FIRST)], value=before),
        gr.update(choices=[("latest", LATEST), *names], value=after),
        samples.probes(ordered, before, after, session=session),
        html,
    ]


def turn(page: int, request: gr.Request) -> tuple[Html, int]:
    """Another page of online samples."""
    with read_session() as session:
        html, pages = samples.online(_run_id(request), page, session=session)
    return html, min(max(page, 1), pages)


def settings(request: gr.Request) -> tuple[Any, ...]:
    """The configuration as table, YAML and command; it never changes."""
    with read_session() as session:
        try:
            run = runs.get(_run_id(request), session=session)
        except NotFound:
            return gr.skip(), gr.skip(), gr.skip()
        dataset = f"{run.dataset.name}@{run.dataset.version}"
    return (
        run_view.config_table(run.config),
        to_yaml(run.config, method=run.method, dataset=dataset, name=run.name),
        launch_command(run.method, dataset, run.config, name=run.name),
    )


def ask_cancel(request: gr.Request) -> tuple[Any, ...]:
    """Name the run that is about to be cancelled."""
    with read_session() as session:
        run = runs.get(_run_id(request), session=session)
    keeps = " What it has learned up to its last checkpoint stays." if run.status is RunStatus.RUNNING else ""
    sentence = f"Cancel run {run.id}, “{run.name}”? Only this run stops.{keeps}"
    return gr.update(visible=True), widgets.escape(sentence), f"Yes, cancel run {run.id}", "cancel"


def resume_run(request: gr.Request) -> Html:
    """Queue the run again; the page follows by itself."""
    try:
        resume(_run_id(request))
    except AppError as error:
        return widgets.notice(str(error), "error")
    return widgets.NOTHING


def ask_delete(request: gr.Request) -> tuple[Any, ...]:
    """Name the run that is about to be deleted."""
    with read_session() as session:
        run = runs.get(_run_id(request), session=session)
    sentence = (
        f"Delete run {run.id}, “{run.name}”, with its charts, samples and checkpoints? "
        "Answers and votes on the compare page stay. This cannot be undone."
    )
    return gr.update(visible=True), widgets.escape(sentence), f"Yes, delete run {run.id}", "delete"


def confirmed(wanted: str, request: gr.Request) -> tuple[Any, Html, str]:
    """Do what was asked and confirmed."""
    closed = gr.update(visible=False)
    try:
        run_id = _run_id(request)
        if wanted == "cancel":
            with write_session() as session:
                runs.request_cancel(run_id, session=session)
            return closed, widgets.NOTHING, ""
        if wanted == "delete":
            delete_run(run_id)
            return closed, Markup('<p data-next="runs">Run {} is deleted.</p>').format(run_id), ""
    except AppError as error:
        return closed, widgets.notice(str(error), "error"), ""
    return closed, widgets.NOTHING, ""


def export_zip(request: gr.Request) -> str:
    """The run's last weights with a model card, as one zip file for the hidden download button."""
    try:
        return str(artifacts.export_zip(_run_id(request), files.new_folder(query.username(request))))
    except (AppError, OSError) as error:
        raise gr.Error(str(error), duration=8, print_exception=False) from error
