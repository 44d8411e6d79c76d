"""The front page: next steps and current activity."""

from collections.abc import Mapping
from functools import partial

import gradio as gr
from markupsafe import Markup
from sqlalchemy.orm import Session

from app.i18n import _, in_language
from app.presence import no_worker
from app.store import comparisons, datasets, label_queries, run_lists, runs, workers
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run, Worker
from app.templates import render
from app.ui import events, formatting, widgets
from app.ui.run import view as run_view
from app.ui.runs import table as run_table
from app.ui.updates import Updates, connect
from app.ui.widgets import Html
from hypo_engine.measures import HEADLINES

RECENT = 6


def build() -> None:
    """Lay out the page, then wire its events."""
    gr.HTML(
        widgets.page_header(
            "HyPO Studio",
            _("Train a model on preferences with DPO and HyPO, then judge blind which one answers better."),
        )
    )
    steps, now, recent, seen = gr.HTML(widgets.loading()), gr.HTML(), gr.HTML(), gr.State("")
    timer = gr.Timer(events.BUSY_SECONDS)
    shown = {"steps": steps, "now": now, "recent": recent, "seen": seen, "timer": timer}
    connect(events.on_load, refresh, seen, shown)
    connect(partial(events.tick, timer), refresh, seen, shown)


def refresh(seen: str) -> Updates:
    """Update the page if it differs from the one already shown."""
    with read_session() as session:
        counts = runs.count_by_status(session=session)
        steps, now, recent = (
            three_steps(counts, session=session),
            activity(counts, session=session),
            results(session=session),
        )
    page = "".join((steps, now, recent))
    if page == seen:
        return {}
    pace = events.pace(busy=any(not status.is_over for status in counts))
    return {"steps": steps, "now": now, "recent": recent, "seen": page, "timer": pace}


def three_steps(counts: Mapping[RunStatus, int], *, session: Session) -> Html:
    """The three steps (data, launch, compare), their progress, and the next one."""
    known = datasets.count(session=session)
    finished, votes = counts.get(RunStatus.FINISHED, 0), sum(label_queries.count(session=session).values())
    asked = comparisons.count(session=session)
    done = (known > 0, finished > 0, votes > 0)
    following = done.index(False) if False in done else None
    steps = [
        (
            _("Add preference pairs"),
            _("A prompt with a better and a worse answer: a file, a dataset of the hub, or the demo."),
            formatting.count(known, "dataset version") if known else _("Nothing here yet"),
            (_("Datasets"), "datasets"),
        ),
        (
            _("Launch DPO and HyPO"),
            _("Twins share data, order, seed and steps, so that only the method differs."),
            _("{runs}, {n} finished", runs=formatting.count(sum(counts.values()), "run"), n=finished)
            if counts
            else _("No runs yet"),
            (_("Launch"), "launch"),
        ),
        (
            _("Compare and vote"),
            _("Ask all of them the same question, blind, and say which answer is best."),
            f"{formatting.count(asked, 'question')}, {formatting.count(votes, 'vote')}"
            if asked
            else _("No votes yet"),
            (_("Compare"), "compare"),
        ),
    ]
    cards = [
        {
            "title": title,
            "text": text,
            "state": state,
            "done": done[number],
            "next": following == number,
            "button": widgets.link_button(label, page, primary=following == number),
        }
        for number, (title, text, state, (label, page)) in enumerate(steps)
    ]
    if finished:
        many = widgets.link_button(_("Judge many prompts"), "campaigns", new=1)
        cards[-1]["button"] = Markup('<span class="hy-actions">{}{}</span>').format(many, cards[-1]["button"])
    return render("home/steps.html", steps=cards)


def activity(counts: Mapping[RunStatus, int], *, session: Session) -> Html:
    """Running and queued runs, and the workers."""
    running = runs.find(session=session, status=RunStatus.RUNNING)
    queued = run_lists.queued_first(session=session, limit=RECENT)
    pieces = []
    if running or queued:
        stands = run_table.standings([*running, *queued], session=session)
        rows = [_row(run, stands.get(run.id)) for run in (*running, *queued)]
        waiting = counts.get(RunStatus.QUEUED, 0)
        more = _("and {n} more", n=f"{waiting - RECENT:,}") if waiting > RECENT else ""
        table = widgets.table(
            [_("Run"), _("Method"), _("State"), _("Progress")],
            rows,
            caption=_("Runs in progress and waiting"),
        )
        pieces.append(widgets.section(_("In progress"), table, more))
    pieces.append(widgets.section(_("Workers"), _workers(waiting=bool(queued), session=session)))
    return widgets.join(pieces)


def _row(run: Run, standing: Html | None) -> tuple[object, ...]:
    return (
        widgets.link(run.name, "run", id=run.id),
        widgets.run_badge(run),
        widgets.status_badge(run.status),
        run_table.progress(run, standing),
    )


def _workers(*, waiting: bool, session: Session) -> Html:
    present = workers.present(session=session)
    pieces = []
    served = {queue for worker in present for queue in worker.queues.split(",")}
    missing = [queue for queue in ("train", "generate") if queue not in served]
    if not present:
        text = widgets.with_commands(in_language(no_worker()))
        pieces.append(widgets.notice(text, "warning" if waiting else "info"))
    elif missing:
        urgent = waiting and missing == ["train"]
        text = run_view.no_worker(missing[0], session=session)
        pieces.append(widgets.notice(text, "warning" if urgent else "info"))
    if present:
        pieces.insert(0, render("home/workers.html", workers=[_worker(worker) for worker in present]))
    return widgets.join(pieces)


def _worker(worker: Worker) -> dict[str, str]:
    """A worker's queues and device, the model that it loads, and the reason if it takes no messages."""
    return {
        "queues": formatting.in_words(worker.queues.split(",")),
        "device": " · ".join(filter(None, [in_language(worker.device), worker.id])),
        "trouble": in_language(worker.trouble),
        "loading": worker.loading,
    }


def results(*, session: Session) -> Html:
    """The runs that ended last, with their results on held-out pairs."""
    ended = run_lists.ended_last(session=session, limit=RECENT)
    if not ended:
        return widgets.NOTHING
    reached = run_lists.final_metrics([run.id for run in ended], session=session)
    rows = []
    for run in ended:
        last = reached.get(run.id, {})
        rows.append(
            (
                widgets.link(run.name, "run", id=run.id),
                widgets.run_badge(run),
                widgets.status_badge(run.status),
                *(measure.text(last) for measure in HEADLINES),
                formatting.ago(run.finished_at),
            )
        )
    headers = [_("Run"), _("Method"), _("State"), *(_(measure.label) for measure in HEADLINES), _("Ended")]
    table = widgets.table(headers, rows, caption=_("Latest results"), numeric=(3, 4, 5))
    return widgets.section(_("Latest results"), table, widgets.link(_("all runs"), "runs"))
