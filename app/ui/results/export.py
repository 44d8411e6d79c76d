"""Exports the votes to a file or a dataset."""

import gradio as gr

from app.exports import labels as exports
from app.exports.layouts import LabelFormat
from app.exports.writers import FileType
from app.i18n import _, _n
from app.store import label_queries
from app.store.db import read_session
from app.ui import query, widgets
from app.ui.compare.actions import showing_errors
from app.ui.results import view as results_view


def export(
    format: str,
    file_type: str,
    whole: bool,
    merge: bool = False,
    people: bool = False,
    archive: bool = False,
    request: gr.Request | None = None,
) -> str:
    """The address of the export; warns about an empty file or hidden names."""
    kind, ending = LabelFormat(format), FileType(file_type)
    if kind is LabelFormat.TRL and exports.count_trl(leave_out_cut=whole).rows == 0:
        gr.Warning(_("The file has no rows: no vote prefers one answer to another yet."))
    if kind in (LabelFormat.RAW, LabelFormat.ARENA, LabelFormat.ARGILLA):
        with read_session() as session:
            hidden = label_queries.count_hidden(query.username(request), session=session)
        if hidden:
            gr.Info(_hidden(hidden, only_names=kind is LabelFormat.RAW), duration=8)
    given = {"format": kind.value, "file_type": ending.value}
    wanted = {"whole": whole, "merge": merge, "people": people, "archive": archive}
    return widgets.url(
        "api/v1/votes/export", **given, **{name: "true" if on else "" for name, on in wanted.items()}
    )


def _hidden(votes: int, *, only_names: bool) -> str:
    if only_names:
        return _n(
            "The file leaves out the names of {n} vote that you may still judge blind.",
            "The file leaves out the names of {n} votes that you may still judge blind.",
            votes,
        )
    return _n(
        "The file leaves out {n} vote that you may still judge blind.",
        "The file leaves out {n} votes that you may still judge blind.",
        votes,
    )


def use_as_dataset(name: str, whole: bool = False, merge: bool = False) -> str:
    """Store the votes as the next version of a dataset."""
    added = showing_errors(lambda: exports.use_as_dataset(name, leave_out_cut=whole, merge=merge))
    return results_view.became_dataset(added.name, added.version, added.rows, added.id)
