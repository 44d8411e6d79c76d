"""Bulk actions on the runs selected in the list."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from sqlalchemy.orm import Session

from app.deletion import delete_run
from app.errors import AppError, InvalidInput
from app.i18n import _, in_language
from app.run_edits import Edit, edit, split_tags
from app.store import run_transitions, runs
from app.store.db import read_session, write_session
from app.store.models import Run
from app.ui import confirmation, formatting, query, widgets
from app.ui.report import opening
from app.ui.updates import Updates
from app.ui.widgets import Html

MAX_CHOSEN = 200


def read(ids: Sequence[int], *, session: Session) -> list[Run]:
    """The runs with the given ids, at most MAX_CHOSEN."""
    return runs.of_ids(list(ids)[:MAX_CHOSEN], session=session)


def _ticked(chosen: str, session: Session) -> list[Run]:
    return read(query.to_ids(chosen or ""), session=session)


def enable(chosen: str) -> Updates:
    """Enable the buttons that apply to the selected runs, labelled with the number of runs."""
    with read_session() as session:
        picked = _ticked(chosen, session)
    live = sum(not run.status.is_over for run in picked)
    over = len(picked) - live
    shelved = sum(run.archived_at is not None for run in picked)
    here = len(picked) - shelved
    return {
        "overlay": gr.update(interactive=bool(picked), value=_numbered(_("Overlay"), len(picked))),
        "cancel": gr.update(interactive=live > 0, value=_numbered(_("Cancel"), live)),
        "delete": gr.update(interactive=over > 0, value=_numbered(_("Delete"), over)),
        "clone": gr.update(interactive=len(picked) == 1),
        "report": gr.update(interactive=bool(picked)),
        "archive": gr.update(interactive=here > 0, value=_numbered(_("Archive"), here)),
        "unarchive": gr.update(visible=shelved > 0, value=_numbered(_("Unarchive"), shelved)),
        "tagging": gr.update(visible=bool(picked)),
    }


def _numbered(label: str, number: int) -> str:
    """A button's label with the number of runs to which it applies."""
    return f"{label} {number}" if number else label


def report(chosen: str, request: gr.Request) -> Html:
    """Create a report of the selected runs and go to it."""
    return opening.create(query.to_ids(chosen or ""), (), query.username(request))


def _named(picked: Sequence[Run]) -> str:
    return ", ".join(_("run {id} “{name}”", id=run.id, name=formatting.clip(run.name, 60)) for run in picked)


def ask_cancel(chosen: str) -> Updates:
    """Ask for confirmation before cancelling the selected runs."""
    with read_session() as session:
        picked = [run for run in _ticked(chosen, session) if not run.status.is_over]
    sentence = _("Cancel {runs}?", runs=_named(picked))
    yes = _("Yes, cancel {n}", n=len(picked))
    return confirmation.ask(sentence, yes=yes, wanted="cancel", visible=bool(picked))


def ask_delete(chosen: str) -> Updates:
    """Ask for confirmation before deleting the selected runs."""
    with read_session() as session:
        picked = [run for run in _ticked(chosen, session) if run.status.is_over]
    sentence = _(
        "Delete {runs} with charts, samples and checkpoints? Answers and votes stay. This cannot be undone.",
        runs=_named(picked),
    )
    yes = _("Yes, delete {n}", n=len(picked))
    return confirmation.ask(sentence, yes=yes, wanted="delete", visible=bool(picked))


def confirmed(wanted: str, chosen: str) -> tuple[Any, Html]:
    """Perform the confirmed action and report failures."""
    problems = []
    with read_session() as session:
        picked = _ticked(chosen, session)
    for run in sorted(picked, key=lambda run: run.id, reverse=True):  # runs before those that they wait for
        try:
            if wanted == "cancel" and not run.status.is_over:
                with write_session() as session:
                    run_transitions.request_cancel(run.id, session=session)
            elif wanted == "delete" and run.status.is_over:
                delete_run(run.id)
        except AppError as error:
            problems.append(in_language(str(error)))
    said = widgets.error_banner(" ".join(problems)) if problems else widgets.NOTHING
    return gr.update(visible=False), said


def archive(chosen: str) -> Html:
    """Hide the selected runs from lists."""
    return _edited(chosen, Edit(archived=True))


def unarchive(chosen: str) -> Html:
    """Show the selected runs in lists again."""
    return _edited(chosen, Edit(archived=False))


def add_tags(chosen: str, words: str) -> Html:
    """Tag the selected runs."""
    return _edited(chosen, Edit(tag=_tags_of(words)))


def remove_tags(chosen: str, words: str) -> Html:
    """Remove tags from the selected runs."""
    return _edited(chosen, Edit(untag=_tags_of(words)))


def _tags_of(words: str) -> list[str]:
    tags = split_tags(words or "")
    if not tags:
        raise InvalidInput(
            _("Tags is empty; write one or more tags, with commas between them."), field="tags"
        )
    return tags


def _edited(chosen: str, change: Edit) -> Html:
    with read_session() as session:
        ids = [run.id for run in _ticked(chosen, session)]
    try:
        edit(ids, change)
    except AppError as error:
        return widgets.error_banner(str(error))
    return widgets.NOTHING
