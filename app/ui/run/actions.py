"""The actions of the run page: cancel, resume, delete, export."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from app import artifacts
from app.deletion import delete_run
from app.errors import AppError
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
    keeps = "What it has learned up to its last checkpoint is kept."
    sentence = (
        f"Cancel run {run.id}, “{run.name}”? {_fails(waiting) or 'Only this run stops. '}"
        f"{keeps if run.status is RunStatus.RUNNING else ''}"
    ).rstrip()
    return confirmation.ask(sentence, yes=f"Yes, cancel run {run.id}", wanted="cancel")


def _fails(waiting: Sequence[int]) -> str:
    """The runs that fail because they wait for the run."""
    if not waiting:
        return ""
    named = formatting.capital(formatting.in_words([f"run {one}" for one in waiting]))
    return f"{named} {'wait' if len(waiting) > 1 else 'waits'} for it and will fail. "


def ask_delete(request: gr.Request) -> Updates:
    """Ask for confirmation before deleting the run."""
    with read_session() as session:
        run = runs.get(run_id(request), session=session)
        waiting = run_dependencies.dependants(run.id, session=session)
    sentence = (
        f"Delete run {run.id}, “{run.name}”, with its charts, samples and checkpoints? "
        f"Answers and votes on the compare page stay. {_fails(waiting)}This cannot be undone."
    )
    return confirmation.ask(sentence, yes=f"Yes, delete run {run.id}", wanted="delete")


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
            return Markup('<p data-next="runs">Run {} is deleted.</p>').format(run_id(request))
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
        raise gr.Error(str(error), duration=8, print_exception=False) from error
