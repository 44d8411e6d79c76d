"""Exports the votes to a file or a dataset."""

import gradio as gr

from app.campaigns import Starts, next_starts, run_starts
from app.exports import labels as exports
from app.exports.layouts import LabelFormat
from app.exports.writers import FileType
from app.i18n import _, _n
from app.store import label_queries
from app.store.db import read_session
from app.store.label_queries import VoteFilter
from app.ui import query, widgets
from app.ui.compare.actions import showing_errors
from app.ui.results import view as results_view
from app.ui.results.layout import ALL
from hypo_engine.config import Method


def _only(campaign: str, run: str, blind: bool) -> VoteFilter:
    return VoteFilter(
        campaign_id=int(campaign) if campaign else None, run_id=int(run) if run else None, blind=blind
    )


def counts(whole: bool, campaign: str = ALL, run: str = ALL, blind: bool = False) -> str:
    """The number of training pairs from the chosen votes; `whole` excludes cut answers."""
    only = _only(campaign, run, blind)
    return results_view.export_counts(exports.count_trl(only=only, leave_out_cut=whole))


def export(
    format: str,
    file_type: str,
    whole: bool,
    campaign: str = ALL,
    run: str = ALL,
    blind: bool = False,
    merge: bool = False,
    people: bool = False,
    archive: bool = False,
    request: gr.Request | None = None,
) -> str:
    """The address of the export; warns about an empty file or hidden names."""
    kind, ending, only = LabelFormat(format), FileType(file_type), _only(campaign, run, blind)
    if kind is LabelFormat.TRL and exports.count_trl(only=only, leave_out_cut=whole).rows == 0:
        gr.Warning(_("The file has no rows: no vote prefers one answer to another yet."))
    tell_hidden(kind, query.username(request))
    given = {"format": kind.value, "file_type": ending.value, "campaign_id": campaign, "run_id": run}
    wanted = {"blind": blind, "whole": whole, "merge": merge, "people": people, "archive": archive}
    return widgets.url(
        "api/v1/votes/export", **given, **{name: "true" if on else "" for name, on in wanted.items()}
    )


def tell_hidden(kind: LabelFormat, user: str) -> None:
    """Tell what the file leaves out because this person may still judge it blind."""
    if kind not in (LabelFormat.RAW, LabelFormat.ARENA, LabelFormat.ARGILLA):
        return
    with read_session() as session:
        hidden = label_queries.count_hidden(user, session=session)
    if hidden:
        gr.Info(_hidden(hidden, only_names=kind is LabelFormat.RAW), duration=8)


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


def use_as_dataset(
    name: str,
    whole: bool = False,
    campaign: str = ALL,
    run: str = ALL,
    blind: bool = False,
    merge: bool = False,
    bad: bool = False,
    request: gr.Request | None = None,
) -> str:
    """Store the chosen votes as the next version of a dataset."""
    only = _only(campaign, run, blind)
    added = showing_errors(
        lambda: exports.use_as_dataset(name, only=only, leave_out_cut=whole, merge=merge, bad=bad)
    )
    starts = _starts(only, query.username(request))
    return results_view.became_dataset(added, starts, method=Method.KTO if bad else None)


def _starts(only: VoteFilter, user: str) -> Starts:
    if only.campaign_id is not None:
        return next_starts(only.campaign_id, user)
    return Starts() if only.run_id is None else run_starts(only.run_id)
