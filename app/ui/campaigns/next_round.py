"""What becomes of a campaign's votes: a file, or a dataset for the next run."""

from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from app import campaigns
from app.exports import labels as exports
from app.exports.labels import TrlCounts
from app.i18n import _, _html
from app.store.enums import WhyLeftOut
from app.store.label_queries import VoteFilter
from app.ui import formatting, query, widgets
from app.ui.campaigns.address import campaign_id
from app.ui.results import view as results_view
from app.ui.updates import Updates
from app.ui.widgets import Html
from hypo_engine.config import Method


@dataclass(frozen=True, slots=True)
class NextRound:
    """The components of the section; hidden while no vote prefers an answer."""

    next_round: gr.Column
    pairs: gr.HTML
    dataset_name: gr.Textbox
    make_dataset: gr.Button
    merge: gr.Checkbox
    bad: gr.Checkbox
    made: gr.HTML


def lay_out() -> NextRound:
    """Lay out the section."""
    with gr.Column(visible=False, elem_classes="hy-page") as section:
        pairs = gr.HTML()
        with gr.Row(elem_classes="hy-grid hy-two"), gr.Column(min_width=220, elem_classes="hy-field"):
            name = gr.Textbox(
                "votes", label=_("Dataset"), info=_("An existing name gets a new version."), max_length=100
            )
            merge = gr.Checkbox(
                label=_("One pair for each comparison"),
                info=_("Several votes become one pair with their weight and margin."),
            )
            bad = gr.Checkbox(
                label=_("Also answers judged bad, for KTO"),
                info=_("Votes that find all answers bad become rows with one answer."),
            )
        with gr.Row(elem_classes="hy-buttons"):
            button = gr.Button(_("Use as dataset"), variant="primary", size="md", scale=0, min_width=160)
        return NextRound(section, pairs, name, button, merge, bad, gr.HTML())


def show(campaign: int, *, adjudicated: bool = False) -> Updates:
    """Updates of the section."""
    counts = exports.count_trl(only=VoteFilter(campaign_id=campaign, adjudicated=adjudicated))
    pairs = _pairs(campaign, counts, adjudicated=adjudicated)
    bad = counts.left_out[WhyLeftOut.ALL_BAD.value] > 0
    return {"next_round": gr.update(visible=counts.rows > 0 or bad), "pairs": pairs}


def use_as_dataset(
    name: str, adjudicated: bool | None, merge: bool | None, bad: bool | None, request: gr.Request | None
) -> Updates:
    """Store the votes as the next version of a dataset, and link to Launch."""
    campaign, user = campaign_id(request), query.username(request)
    only = VoteFilter(campaign_id=campaign, adjudicated=bool(adjudicated))
    added = exports.use_as_dataset(name, only=only, merge=bool(merge), bad=bool(bad))
    starts, method = campaigns.next_starts(campaign, user), Method.KTO if bad else None
    return {"made": results_view.became_dataset(added, starts, method=method)}


def _pairs(campaign: int, counts: TrlCounts, *, adjudicated: bool) -> Html:
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
    given: dict[str, object] = {"format": "trl", "campaign_id": campaign}
    if adjudicated:
        given["adjudicated"] = True
    kinds = ("jsonl", "csv", "parquet")
    links = [widgets.link(kind, "api/v1/votes/export", file_type=kind, **given) for kind in kinds]
    download = _html("Download: {links}", links=widgets.join(links, " · "))
    body = Markup("<p>{} {}</p>").format(sentence, download)
    return widgets.section(_("Next round"), body)
