"""The run page: `run?id=N`. It polls the database, so it can be closed and reloaded at any time."""

from functools import partial
from typing import Any, cast

import gradio as gr
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.i18n import N_, _, in_language
from app.store import metrics, retention, run_checkpoints, run_dependencies, run_events, run_tags, runs
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run
from app.ui import confirmation, events, tabs, training, widgets
from app.ui.commands import launch_command, to_yaml
from app.ui.judging import layout as judging_layout
from app.ui.opening import on_open
from app.ui.run import actions, editing, findings, judges, probe, rewards, samples
from app.ui.run import view as run_view
from app.ui.run.address import run_id
from app.ui.run.layout import FIRST, Layout, lay_out
from app.ui.run.samples import LATEST
from app.ui.training import XAxis
from app.ui.updates import Components, Updates, connect, named, pick
from app.ui.widgets import Html
from hypo_engine.config import LossType, Method, Need, applies

SECONDS = 1.5
Seen = tuple[Any, ...]
MISSING: Seen = ("missing",)


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    timer = _wire_refresh(page)
    _wire_probe(page)
    _wire_actions(page)
    changed = {**pick(named(page.frame), "seen", "message"), "timer": timer}
    judging_layout.wire(page.judging, changed, start=judges.start, stop=judges.stop, resume=judges.resume)
    tabs.remember(page.frame.tabs, page.frame.of)


def _wire_refresh(page: Layout) -> gr.Timer:
    shown, sampled = page.charts, page.samples
    timer = gr.Timer(SECONDS)
    outputs = {
        **pick(named(page.frame), "seen", "header", "body", "log"),
        **pick(named(page.summary), "status", "facts", "cancel", "resume", "export", "delete", "archive"),
        **pick(named(shown), "advice", "key", "panel", "rewards"),
        **pick(named(sampled), "before", "after", "probes", "online"),
        **pick(named(page.judging), *judging_layout.SHOWN),
        "timer": timer,
    }
    chosen = [shown.x_axis, sampled.before, sampled.after, sampled.page]
    watched = [page.frame.seen, *chosen]
    _wire_editing(page, watched, outputs)
    settled = [page.settings.config, page.settings.yaml, page.settings.command]
    on_open(N_("Run"), refresh, watched, outputs).then(settings, None, settled, **events.QUIET)
    connect(partial(events.tick, timer), refresh, watched, outputs)
    picked = [shown.x_axis.input, sampled.before.input, sampled.after.input]
    connect(partial(gr.on, picked), refresh_all, chosen, outputs, **events.QUIET)
    number, turned = sampled.page, [sampled.online, sampled.page]
    sampled.newer.click(lambda p: max(1, p - 1), number, number, **events.QUIET).then(
        turn, number, turned, **events.QUIET
    )
    sampled.older.click(lambda p: p + 1, number, number, **events.QUIET).then(
        turn, number, turned, **events.QUIET
    )
    return timer


def _wire_probe(page: Layout) -> None:
    """The slider follows the evaluations: it is renewed when the probe answers below it change."""
    parts = named(page.probe)
    looked = [page.probe.prompt, page.probe.against, page.probe.place]
    shown = pick(parts, "section", "prompt", "against", "place", "changed", "compare")
    connect(events.on_load, probe.open_page, None, {**shown, "tabs": page.frame.tabs})
    connect(page.samples.probes.change, probe.renew, looked, shown, **events.QUIET)
    moved = [page.probe.prompt.input, page.probe.against.input, page.probe.place.change]
    told = connect(
        partial(gr.on, moved), probe.move, looked, shown, trigger_mode="always_last", **events.QUIET
    )
    told.then(None, looked, None, js=probe.ADDRESS)
    page.probe.compare.click(probe.compare, looked, page.probe.compared, trigger_mode="once", **events.QUIET)


def _wire_editing(page: Layout, watched: list[Any], outputs: Components) -> None:
    form, message = page.editing, {"message": page.frame.message}
    fields = pick(named(form), "editing", "name", "tags", "notes")
    connect(page.summary.edit.click, editing.open_form, None, fields, **events.QUIET)
    connect(form.close.click, editing.close_form, None, pick(fields, "editing"), **events.QUIET)
    given = [form.name, form.tags, form.notes]
    saved = connect(
        form.save.click, editing.save, given, {**message, **pick(fields, "editing")}, **events.QUIET
    )
    archived = connect(page.summary.archive.click, editing.archive, None, message, **events.QUIET)
    for event in (saved, archived):
        connect(event.then, refresh, watched, outputs, **events.QUIET)


def _wire_actions(page: Layout) -> None:
    summary, question, message = page.summary, page.confirmation, page.frame.message
    asked = pick(named(question), "confirm", "question", "yes", "wanted")
    connect(summary.cancel.click, actions.ask_cancel, None, asked, **events.QUIET)
    connect(summary.delete.click, actions.ask_delete, None, asked, **events.QUIET)
    summary.report.click(actions.report, None, message, trigger_mode="once", **events.QUIET)
    resume = summary.resume
    resume.click(actions.resume_run, None, message, show_progress_on=resume, api_visibility="private")
    question.no.click(confirmation.closed, None, [question.confirm, question.wanted], **events.QUIET)
    answered = [question.confirm, message, question.wanted]
    question.yes.click(actions.confirmed, question.wanted, answered, **events.QUIET)
    summary.export.click(
        actions.export_zip,
        None,
        summary.download,
        show_progress_on=summary.export,
        api_visibility="private",
        concurrency_limit=2,
    ).success(None, None, None, js=events.CLICK_DOWNLOAD)


# --- handlers --------------------------------------------------------------------------------


def refresh(seen: Seen, x_axis: str, before: int, after: int, page: int, request: gr.Request) -> Updates:
    """Updates of everything that changed since `seen`."""
    with read_session() as session:
        try:
            run = runs.get(run_id(request), session=session)
        except NotFound as error:
            return _missing(seen, in_language(str(error)))
        twins = list(runs.twins_of(run, session=session))
        scoring = rewards.scoring(run, session=session)
        state = (*_state(run, twins, session), rewards.waiting(scoring))
        revision = metrics.revision([twin.id for twin in twins], session=session)
        points = (revision, run.status.is_over, scoring and (scoring.id, scoring.status.value, scoring.done))
        now: Seen = (state, points, page)
        old = seen if len(seen) == 3 else ((), (), 0)
        updates: Updates = {} if now == tuple(seen) else {"seen": now}
        if state != old[0]:
            # stop the timer once the run and its twins are over, and judged
            going_on = any(not twin.status.is_over for twin in twins)
            going_on |= judges.waiting(run, session=session) or rewards.waiting(scoring)
            updates |= {**_shown(run, twins, session), "timer": gr.Timer(active=going_on)}
        if points != old[1]:
            updates |= _drawn(run, twins, x_axis, session)
            updates["panel"] += rewards.figures(scoring, session=session)
            updates["rewards"] = rewards.told(run, scoring, session=session)
        if (points, page) != tuple(old[1:]):
            updates |= _sampled(run, twins, before, after, page, session)
    return updates


def refresh_all(x_axis: str, before: int, after: int, page: int, request: gr.Request) -> Updates:
    """Update the whole page after the selection of curves or samples changed."""
    return refresh((), x_axis, before, after, page, request)


def _missing(seen: Seen, reason: str) -> Updates:
    if seen == MISSING:
        return {}
    page = widgets.empty_state(
        _("There is no such run"),
        _("{why}. It may have been deleted.", why=reason.split(";")[0].rstrip(".")),
        widgets.link_button(_("All runs"), "runs", primary=True),
        widgets.link_button(_("Launch a run"), "launch"),
    )
    return {
        "seen": MISSING,
        "header": widgets.join([widgets.page_header(_("Run not found")), page]),
        "body": gr.update(visible=False),
        "timer": gr.Timer(active=False),
    }


def _state(run: Run, twins: list[Run], session: Session) -> tuple[Any, ...]:
    """A fingerprint of the upper part of the page."""
    queue = runs.place_in_queue(run, session=session)
    awaited = run_dependencies.awaited([run], session=session).values()
    checkpoint = run_checkpoints.last(run.id, session=session)
    waits = run.status is RunStatus.QUEUED  # its page then shows how far its twin is
    return (
        [(twin.id, twin.status.value, twin.wish.value, waits and twin.step) for twin in twins],
        (run.step, run.total_steps, run.phase, run.attempt, queue, run.name),
        (run.notes, run.archived_at is not None, *run_tags.of_runs([run.id], session=session)[run.id]),
        [(other.id, other.status.value, other.wish.value, other.step) for other in awaited],
        checkpoint.id if checkpoint else None,
        run_events.last_id([run.id], session=session),
        judges.counts(run, session=session),
    )


def _shown(run: Run, twins: list[Run], session: Session) -> Updates:
    can = run_view.actions(run, session=session)
    status = [
        run_view.status(run, session=session),
        run_view.nothing_measured(run, session=session),
        run_view.pairs_left_out(run, session=session),
    ]
    return {
        "header": run_view.header(run, twins, run_tags.of_runs([run.id], session=session)[run.id]),
        "body": gr.update(visible=True),
        "status": widgets.join(status),
        "facts": run_view.run_facts(
            run,
            retention.disk_use(run.id, session=session),
            run_checkpoints.best_step_of(run, session=session),
        ),
        "cancel": gr.update(visible=can.cancel, value=_("Cancel run {id}", id=run.id)),
        "resume": gr.update(visible=can.resume, value=_("Resume run {id}", id=run.id)),
        "export": gr.update(visible=can.export, value=_export_label(run)),
        "delete": gr.update(visible=can.delete),
        "archive": _("Unarchive") if run.archived_at else _("Archive"),
        "log": run_view.log(run_events.of_run(run.id, session=session)),
        **judges.show(run),
    }


def _export_label(run: Run) -> str:
    if not Method(run.method).writes:
        return _("Export reward model (zip)")
    return _("Export adapter (zip)") if run.config.get("lora_r") else _("Export model (zip)")


def _relative(run: Run) -> bool:
    """Whether the run learns the pairs' labels by rewards that are relative to the reference."""
    method, loss = Method(run.method), LossType(run.config.get("loss_type", LossType.SIGMOID))
    ignores = applies("loss_type", method) and not loss.reads_reference
    return Need.REFERENCE in method.needs and not ignores


def _drawn(run: Run, twins: list[Run], x_axis: str, session: Session) -> Updates:
    points = training.load_points([twin.id for twin in twins], session=session)
    if not points:
        return {"advice": _no_curves(run), "key": widgets.NOTHING, "panel": []}
    curves = metrics.series([run.id], findings.EXAMINED, session=session)
    found = findings.examine(
        {name: values for (_run, name), values in curves.items()},
        beta=float(run.config["beta"]) if _relative(run) else None,
        kept={checkpoint.step for checkpoint in run_checkpoints.of_run(run.id, session=session)},
    )
    return {
        "advice": run_view.findings(found),
        "key": training.legend(twins),
        "panel": training.figures(twins, points, x_axis=cast(XAxis, x_axis)),
    }


def _no_curves(run: Run) -> Html:
    if run.status.is_over:
        return widgets.empty_state(_("No curves"), _("The run ended before its first evaluation."))
    return widgets.empty_state(
        _("No curves yet"),
        _("They begin with the first evaluation, before the first step; this page updates by itself."),
    )


def _sampled(run: Run, twins: list[Run], before: int, after: int, page: int, session: Session) -> Updates:
    ordered = [run, *(twin for twin in twins if twin.id != run.id)]
    steps = samples.probe_steps(ordered, session=session)
    first = steps[0] if steps else FIRST
    before = before if before in steps else first
    after = after if after in steps else LATEST
    names = [(_("step {n}", n=step) if step else _("before training"), step) for step in steps]
    online, _pages = samples.online(run.id, page, session=session)
    return {
        "before": gr.update(choices=names or [(_("before training"), FIRST)], value=before),
        "after": gr.update(choices=[(_("latest"), LATEST), *names], value=after),
        "probes": samples.probes(ordered, before, after, session=session),
        "online": online,
    }


def turn(page: int, request: gr.Request) -> tuple[Html, int]:
    """Show another page of online samples."""
    with read_session() as session:
        html, pages = samples.online(run_id(request), page, session=session)
    return html, min(max(page, 1), pages)


def settings(request: gr.Request) -> tuple[Any, ...]:
    """The configuration as table, YAML and command; it is immutable."""
    with read_session() as session:
        try:
            run = runs.get(run_id(request), session=session)
        except NotFound:
            return gr.skip(), gr.skip(), gr.skip()
        dataset = f"{run.dataset.name}@{run.dataset.version}"
    return (
        run_view.config_table(run.config),
        to_yaml(run.config, method=run.method, dataset=dataset, name=run.name),
        launch_command(run.method, dataset, run.config, name=run.name),
    )
