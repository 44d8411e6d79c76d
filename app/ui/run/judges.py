"""Automatic judges on a run's page: what it shows, and its handlers."""

from collections.abc import Callable
from functools import partial

import gradio as gr
from sqlalchemy.orm import Session

from app import judges, run_judges
from app.errors import AppError
from app.i18n import N_, _
from app.store import judges as stored
from app.store import run_judges as judges_of_runs
from app.store.enums import VerdictStatus
from app.store.models import Run
from app.ui import query, widgets
from app.ui.judging import actions, view
from app.ui.run.address import run_id
from app.ui.updates import Updates
from hypo_engine.config import Method

LEAD = N_(
    "A model or a scorer can judge the samples of every evaluation against the reference's answers to the "
    "same prompts. The win rates appear among the charts."
)
CAVEAT = N_(
    "A win rate shows how often this judge prefers the run's sample to the reference's, on the run's "
    "held-out prompts. It does not show what people prefer. A tie counts half, and so do equal texts."
)


def show(run: Run) -> Updates:
    """Updates of the section; hidden for a run that samples no held-out prompts."""
    found = judges.reports_of_run(run.id)
    able = Method(run.method).writes and bool(run.config.get("eval_prompts"))
    return {
        "judges": gr.update(visible=able),
        "judged": view.section(found, lead=_(LEAD), caveat=_(CAVEAT)) if able else "",
        **actions.buttons(found, own=able),
    }


def counts(run: Run, *, session: Session) -> dict[int, dict[VerdictStatus, int]]:
    """The number of verdicts of the run's judges by state."""
    found = [judge.id for judge in judges_of_runs.of_run(run.id, session=session)]
    return stored.counts(found, session=session)


def waiting(run: Run, *, session: Session) -> bool:
    """Whether judges have verdicts to write."""
    return any(states[VerdictStatus.QUEUED] for states in counts(run, session=session).values())


def start(
    endpoint: str | None,
    scorer: str | None,
    template: str | None,
    seed: float | None,
    request: gr.Request,
) -> Updates:
    """Start a judge; the page's timer shows it. On an error the form stays open with its values."""
    begin = partial(run_judges.start, run_id(request), user=query.username(request))
    done = actions.started(begin, endpoint, scorer, template, seed)
    return done if "judge_message" in done else {**done, "seen": (), "timer": gr.Timer(active=True)}


def stop(request: gr.Request) -> Updates:
    """Stop the run's judges."""
    return _each(judges.stop, request)


def resume(request: gr.Request) -> Updates:
    """Continue the run's judges; say so if nothing is left."""
    return _each(judges.resume, request, _("Nothing is left to judge: all samples have a verdict."))


def _each(act: Callable[..., int | None], request: gr.Request, nothing: str = "") -> Updates:
    """Do it with each judge; if no judge has anything to do, say `nothing`."""
    try:
        user = query.username(request)
        counts = [act(report.judge.id, user=user) for report in judges.reports_of_run(run_id(request))]
    except AppError as error:
        return {"message": widgets.error_banner(str(error))}
    message = widgets.notice(nothing) if nothing and not any(counts) else widgets.NOTHING
    return {"message": message, "seen": (), "timer": gr.Timer(active=True)}
