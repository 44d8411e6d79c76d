"""What becomes of a campaign's votes: a file, or a dataset for the next run."""

from dataclasses import dataclass
from typing import Final

import gradio as gr
from markupsafe import Markup

from app import campaigns
from app.exports import labels as exports
from app.exports.labels import TrlCounts
from app.exports.layouts import LabelFormat
from app.exports.writers import FileType
from app.i18n import _
from app.imports.service import AddedDataset
from app.store.enums import WhyLeftOut
from app.store.label_queries import VoteFilter
from app.ui import formatting, query, widgets
from app.ui.campaigns.address import campaign_id
from app.ui.compare.actions import showing_errors
from app.ui.results import view as results_view
from app.ui.results.export import tell_hidden
from app.ui.results.layout import FILE_TYPES, layouts
from app.ui.updates import Updates
from app.ui.widgets import Html
from hypo_engine.config import Method

ORIGINAL: Final = ""
"""The value of the original reference among the models that the next run may start from."""


@dataclass(frozen=True, slots=True)
class NextRound:
    """The components of the section; hidden while no vote prefers an answer."""

    next_round: gr.Column
    pairs: gr.HTML
    dataset_name: gr.Textbox
    merge: gr.Checkbox
    bad: gr.Checkbox
    start: gr.Dropdown
    launch: gr.Button
    make_dataset: gr.Button
    made: gr.HTML
    format: gr.Dropdown
    file_type: gr.Radio
    archive: gr.Checkbox
    download: gr.Button
    address: gr.Textbox


def lay_out() -> NextRound:
    """Lay out the section."""
    with gr.Column(visible=False, elem_classes="hy-page") as section:
        pairs = gr.HTML()
        with gr.Row(elem_classes="hy-grid hy-two", equal_height=False):
            with gr.Column(min_width=280, elem_classes="hy-field"):
                name = gr.Textbox(
                    "votes",
                    label=_("Dataset"),
                    info=_("An existing name gets a new version."),
                    max_length=100,
                )
                merge = gr.Checkbox(
                    label=_("One pair for each comparison"),
                    info=_("Several votes become one pair with their weight and margin."),
                )
                bad = gr.Checkbox(
                    label=_("Also answers judged bad, for KTO"),
                    info=_("Votes that find all answers bad become rows with one answer."),
                )
                start = gr.Dropdown(
                    [(_("the original reference"), ORIGINAL)],
                    value=ORIGINAL,
                    label=_("Base model"),
                    info=_("What the next run starts from."),
                )
            file = _download()
        with gr.Row(elem_classes="hy-buttons"):
            launch = gr.Button(
                _("Launch the next round"), variant="primary", size="md", scale=0, min_width=200
            )
            make = gr.Button(_("Use as dataset"), size="md", scale=0, min_width=160)
            download = gr.Button(_("Download"), size="md", scale=0, min_width=130)
        made, address = gr.HTML(), gr.Textbox(visible="hidden")
    shown = section, pairs, name, merge, bad, start, launch, make, made
    return NextRound(*shown, *file, download, address)


def _download() -> tuple[gr.Dropdown, gr.Radio, gr.Checkbox]:
    with gr.Column(min_width=280, elem_classes="hy-field"):
        format = gr.Dropdown(layouts(), value=LabelFormat.TRL.value, label=_("Format"))
        file_type = gr.Radio(FILE_TYPES, value=FileType.JSONL.value, label=_("File"))
        archive = gr.Checkbox(
            label=_("With a manifest"),
            info=_("A zip with the file, its filters, counts, columns and hash."),
        )
    return format, file_type, archive


def show(campaign: int, user: str, *, adjudicated: bool = False) -> Updates:
    """Updates of the section; the chosen base model stays."""
    counts = exports.count_trl(only=VoteFilter(campaign_id=campaign, adjudicated=adjudicated))
    bad = counts.left_out[WhyLeftOut.ALL_BAD.value] > 0
    policies = campaigns.next_starts(campaign, user).policies
    choices = [(_("the original reference"), ORIGINAL), *((shown, base) for base, shown in policies)]
    return {
        "next_round": gr.update(visible=counts.rows > 0 or bad),
        "pairs": _pairs(counts),
        "start": gr.update(choices=choices),
    }


def use_as_dataset(
    name: str, adjudicated: bool | None, merge: bool | None, bad: bool | None, request: gr.Request | None
) -> Updates:
    """Store the votes as the next version of a dataset, and link to Launch."""
    added = _stored(name, adjudicated, merge, bad, request)
    starts = campaigns.next_starts(campaign_id(request), query.username(request))
    return {"made": results_view.became_dataset(added, starts, method=Method.KTO if bad else None)}


def launch(
    name: str,
    adjudicated: bool | None,
    merge: bool | None,
    bad: bool | None,
    start: str | None,
    request: gr.Request | None,
) -> Updates:
    """Store the votes as the next version of a dataset; the address is that of Launch with it."""
    added = _stored(name, adjudicated, merge, bad, request)
    starts = campaigns.next_starts(campaign_id(request), query.username(request))
    bases = [base for base, _shown in starts.policies]
    if start not in bases:
        start = starts.references[0] if len(starts.references) == 1 else ""
    method = Method.KTO.value if bad else ""
    return {"address": widgets.url("launch", dataset=added.id, method=method, start=start)}


def _stored(
    name: str, adjudicated: bool | None, merge: bool | None, bad: bool | None, request: gr.Request | None
) -> AddedDataset:
    only = VoteFilter(campaign_id=campaign_id(request), adjudicated=bool(adjudicated))
    return showing_errors(lambda: exports.use_as_dataset(name, only=only, merge=bool(merge), bad=bool(bad)))


def download(
    format: str,
    file_type: str,
    archive: bool | None,
    adjudicated: bool | None,
    merge: bool | None,
    request: gr.Request | None,
) -> Updates:
    """The address of the votes as a file; warns about hidden names."""
    kind = LabelFormat(format)
    tell_hidden(kind, query.username(request))
    asked: dict[str, object] = {"campaign_id": campaign_id(request), "format": kind.value}
    ticked = {"archive": archive, "adjudicated": adjudicated, "merge": merge}
    asked |= {"file_type": FileType(file_type).value} | {name: "true" for name, on in ticked.items() if on}
    return {"address": widgets.url("api/v1/votes/export", **asked)}


def _pairs(counts: TrlCounts) -> Html:
    left_out = sum(counts.left_out.values())
    pairs = formatting.count(counts.rows, "training pair")
    if left_out:
        sentence = _(
            "The votes make {pairs}; {votes} prefer no answer.",
            pairs=pairs,
            votes=formatting.count(left_out, "vote"),
        )
    else:
        sentence = _("The votes make {pairs}.", pairs=pairs)
    return widgets.section(_("Next round"), Markup("<p>{}</p>").format(sentence))
