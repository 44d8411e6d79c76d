"""The actions of the run page: cancel, resume, delete, export."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from app import artifacts
from app.deletion import delete_run
from app.errors import AppError
from app.i18n import _, _n, in_language
from app.launch import resume
from app.security import files
from app.store import run_dependencies, run_transitions, runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.ui import confirmation, formatting, query, widgets
from app.ui.report import opening
from app.ui.run.address import run_id
from app.ui.updates import Updates
from app.ui.widgets import Html


def ask_cancel(request: gr.Request) -> Updates:
    """Ask for confirmation before cancelling the run."""
    with read_session() as session:
        run = runs.get(run_id(request), session=session)
        waiting = run_dependencies.dependants(run.id, session=session)
    said = [
        _("Cancel run {id}, “{name}”?", id=run.id, name=run.name),
        _fails(waiting) or _("Only this run stops."),
        _("What it has learned up to its last checkpoint is kept.")
        if run.status is RunStatus.RUNNING
        else "",
    ]
    yes = _("Yes, cancel run {id}", id=run.id)
    return confirmation.ask(" ".join(filter(None, said)), yes=yes, wanted="cancel")


def _fails(waiting: Sequence[int]) -> str:
    """The runs that fail because they wait for the run."""
    if not waiting:
        return ""
    named = formatting.capital(formatting.in_words([_("run {id}", id=one) for one in waiting]))
    return _n(
        "{runs} waits for it and will fail.", "{runs} wait for it and will fail.", len(waiting), runs=named
    )


def ask_delete(request: gr.Request) -> Updates:
    """Ask for confirmation before deleting the run."""
    with read_session() as session:
        run = runs.get(run_id(request), session=session)
        waiting = run_dependencies.dependants(run.id, session=session)
    said = [
        _(
            "Delete run {id}, “{name}”, with its charts, samples and checkpoints?",
            id=run.id,
            name=run.name,
        ),
        _("Answers and votes on the compare page stay."),
        _fails(waiting),
        _("This cannot be undone."),
    ]
    yes = _("Yes, delete run {id}", id=run.id)
    return confirmation.ask(" ".join(filter(None, said)), yes=yes, wanted="delete")


def confirmed(wanted: str, request: gr.Request) -> tuple[Any, Html, str]:
    """Perform the confirmed action; updates of the question, the message and the pending action."""
    return gr.update(visible=False), _done(wanted, request), ""


def _done(wanted: str, request: gr.Request) -> Html:
    """Perform the action and return its message."""
    try:
        if wanted == "cancel":
            with write_session() as session:
                run_transitions.request_cancel(run_id(request), session=session)
        elif wanted == "delete":
            delete_run(run_id(request))
            return Markup('<p data-next="runs">{}</p>').format(_("Run {id} is deleted.", id=run_id(request)))
    except AppError as error:
        return widgets.notice(str(error), "error")
    return widgets.NOTHING


def resume_run(request: gr.Request) -> Html:
    """Queue the run again; the page's timer picks up the change."""
    try:
        resume(run_id(request))
    except AppError as error:
        return widgets.notice(str(error), "error")
    return widgets.NOTHING


def report(request: gr.Request) -> Html:
    """Create a report of the run and its twins, and go to it."""
    with read_session() as session:
        twins = runs.twins_of(runs.get(run_id(request), session=session), session=session)
    return opening.create([twin.id for twin in twins], (), query.username(request))


def export_zip(request: gr.Request) -> str:
    """Write the run's last weights and a model card to a zip file for the hidden download button."""
    try:
        return str(artifacts.export_zip(run_id(request), files.new_folder(query.username(request))))
    except (AppError, OSError) as error:
        raise gr.Error(in_language(str(error)), duration=8, print_exception=False) from error
