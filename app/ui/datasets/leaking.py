"""Pairs that leak from a version's training side into its evaluation: shown, downloaded, left out."""

import gradio as gr

from app import leaving_out
from app.errors import AppError
from app.i18n import _, _n
from app.leaks import find_leak
from app.store.db import read_session
from app.ui import widgets
from app.ui.datasets.detail import dataset_id
from app.ui.pairs.leaving import made_notice
from app.ui.updates import Updates
from app.ui.widgets import Html


def show(request: gr.Request) -> Updates:
    """A warning with a link to all of the pairs; nothing for a version without a leak."""
    wanted = dataset_id(request)
    with read_session() as session:
        leak = None if wanted is None else find_leak(wanted, wanted, session=session)
    if leak is None:
        return {"leaks": "", "leave_leaks": gr.update(visible=False)}
    said = _n(
        "{n} training pair has a prompt that this version also holds out, so a run with an evaluation is "
        "refused.",
        "{n} training pairs have prompts that this version also holds out, so a run with an evaluation is "
        "refused.",
        len(leak.pairs),
    )
    listing = widgets.link(_("All of them as CSV"), f"api/v1/datasets/{wanted}/leaks.csv")
    notice = widgets.notice(Html("{} {}").format(said, listing), "warning")
    deleted = leak.trained_on.deleted_at is not None
    return {"leaks": notice, "leave_leaks": gr.update(visible=not deleted)}


def leave_out(request: gr.Request) -> Updates:
    """Make a new version without the leaking pairs."""
    try:
        made = leaving_out.leave_out_leaks(dataset_id(request) or 0)
    except AppError as error:
        return {"leaks": widgets.error_banner(str(error))}
    return {"leaks": made_notice(made), "leave_leaks": gr.update(visible=False)}
