"""The form of the run page for name, tags and notes, and the button that archives the run."""

import gradio as gr

from app.errors import AppError
from app.run_edits import Edit, edit, split_tags
from app.store import run_tags, runs
from app.store.db import read_session
from app.ui import widgets
from app.ui.run.address import run_id
from app.ui.updates import Updates


def open_form(request: gr.Request) -> Updates:
    """Show the form with what the run has now."""
    with read_session() as session:
        run = runs.get(run_id(request), session=session)
        tags = run_tags.of_runs([run.id], session=session)[run.id]
    return {
        "editing": gr.update(visible=True),
        "name": run.name,
        "tags": ", ".join(tags),
        "notes": run.notes,
    }


def close_form() -> Updates:
    return {"editing": gr.update(visible=False)}


def save(name: str, tags: str, notes: str, request: gr.Request) -> Updates:
    """Store the form and close it; a value that cannot be stored leaves it open."""
    change = Edit(name=name or "", notes=notes or "", tags=split_tags(tags or ""))
    return _edited(change, request, close=True)


def archive(request: gr.Request) -> Updates:
    """Archive the run, or take it out of the archive."""
    with read_session() as session:
        archived = runs.get(run_id(request), session=session).archived_at is not None
    return _edited(Edit(archived=not archived), request)


def _edited(change: Edit, request: gr.Request, *, close: bool = False) -> Updates:
    try:
        edit([run_id(request)], change)
    except AppError as error:
        return {"message": widgets.notice(str(error), "error")}
    return {"message": "", **(close_form() if close else {})}
