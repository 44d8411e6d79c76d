"""The components of the campaigns page, by section."""

from dataclasses import dataclass

import gradio as gr

from app.i18n import _
from app.ui import charts, confirmation, paging, widgets
from app.ui.campaigns import disagreements, form, next_round, source
from app.ui.campaigns.disagreements import Disagreements
from app.ui.campaigns.form import Form
from app.ui.campaigns.next_round import NextRound
from app.ui.campaigns.source import PromptSource
from app.ui.confirmation import Confirmation
from app.ui.judging import layout as judging_layout
from app.ui.judging.layout import Judges
from app.ui.paging import Pager


@dataclass(frozen=True, slots=True)
class Frame:
    """Components outside the sections; `seen` is the state that the open page shows."""

    header: gr.HTML
    seen: gr.State
    timer: gr.Timer


@dataclass(frozen=True, slots=True)
class Listing:
    """The list of campaigns."""

    listing: gr.Column
    table: gr.HTML
    pager: Pager


@dataclass(frozen=True, slots=True)
class Buttons:
    """The actions on a campaign; all but the last two are its owner's."""

    pause: gr.Button
    resume: gr.Button
    extend: gr.Button
    edit: gr.Button
    close: gr.Button
    names: gr.Button
    report: gr.Button


@dataclass(frozen=True, slots=True)
class Edit:
    """The panel that edits name, guidelines, voters and controls."""

    editing: gr.Group
    edit_name: gr.Textbox
    edit_guidelines: gr.Textbox
    edit_reason: gr.Checkbox
    edit_voters: gr.Dropdown
    edit_aspects: gr.Dropdown
    edit_adjudicators: gr.Dropdown
    edit_repeats: gr.Number
    edit_checks: gr.Number
    edit_message: gr.HTML
    edit_save: gr.Button
    edit_cancel: gr.Button


@dataclass(frozen=True, slots=True)
class Extend:
    """The panel that asks for more votes or more prompts."""

    extending: gr.Group
    more_votes: gr.Number
    votes_save: gr.Button
    votes_message: gr.HTML
    prompts: PromptSource
    prompts_save: gr.Button
    extend_cancel: gr.Button


@dataclass(frozen=True, slots=True)
class One:
    """One campaign."""

    one: gr.Column
    progress: gr.HTML
    buttons: Buttons
    confirmation: Confirmation
    message: gr.HTML
    edit: Edit
    extend: Extend
    aspect: gr.Radio
    deciding: Disagreements
    results: gr.HTML
    votes: gr.HTML
    quality: gr.HTML
    judging: Judges
    judge_boards: gr.HTML
    following: NextRound
    setup: gr.HTML


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections; the address decides which of listing, form and one campaign is visible."""

    frame: Frame
    listing: Listing
    form: Form
    one: One


def lay_out() -> Layout:
    """Lay out the whole page."""
    frame = Frame(gr.HTML(widgets.loading()), gr.State(""), gr.Timer(2.0, active=False))
    return Layout(frame, _listing(), form.lay_out(), _one())


def _listing() -> Listing:
    with gr.Column(visible=False) as listing:
        return Listing(listing, gr.HTML(), paging.controls())


def _one() -> One:
    with gr.Column(visible=False, elem_classes="hy-page") as one:
        progress = gr.HTML()
        buttons = _buttons()
        confirm = confirmation.lay_out(_("No"))
        message = gr.HTML(visible=False)
        edit, extend = _edit(), _extend()
        aspect = gr.Radio([], label=_("Rank by"), visible=False, elem_id="rank-by", elem_classes="hy-rank-by")
        results, votes, quality = gr.HTML(js_on_load=charts.PICTURES), gr.HTML(), gr.HTML()
        deciding = disagreements.lay_out()
        judging, judge_boards = judging_layout.lay_out(), gr.HTML(js_on_load=charts.PICTURES)
        following, setup = next_round.lay_out(), gr.HTML()
    return One(
        one,
        progress,
        buttons,
        confirm,
        message,
        edit,
        extend,
        aspect,
        deciding,
        results,
        votes,
        quality,
        judging,
        judge_boards,
        following,
        setup,
    )


def _buttons() -> Buttons:
    def button(text: str, width: int) -> gr.Button:
        return gr.Button(text, size="md", scale=0, min_width=width, visible=False)

    with gr.Row(elem_classes="hy-buttons"):
        return Buttons(
            button(_("Pause"), 90),
            button(_("Resume"), 100),
            button(_("Extend"), 90),
            button(_("Edit"), 80),
            button(_("Close"), 90),
            button(_("Show names and results"), 200),
            button(_("Report"), 100),
        )


def _edit() -> Edit:
    with gr.Group(visible=False, elem_classes="hy-panel") as editing:
        name = gr.Textbox(label=_("Name"), max_lines=1, elem_id="edit-name")
        guidelines = gr.Textbox(
            label=_("Guidelines"),
            info=_("What voters should look for, in Markdown."),
            lines=4,
            max_lines=16,
            max_length=20_000,
            elem_id="edit-guidelines",
        )
        reason = gr.Checkbox(label=_("Ask for a reason after each vote"))
        voters = gr.Dropdown(
            [],
            multiselect=True,
            label=_("Who may vote"),
            info=_("Nobody named: everybody with a login."),
            visible=False,
        )
        aspects = form.aspects_field("edit-aspects")
        adjudicators = gr.Dropdown(
            [],
            multiselect=True,
            label=_("Who decides disagreements"),
            info=_("Besides you, whose campaign it is."),
            visible=False,
        )
        with gr.Row(elem_classes="hy-grid hy-two"):
            repeats, checks = (
                gr.Number(0, precision=0, label=_(form.TITLES[name]), info=_(info), elem_id=f"edit-{name}")
                for name, info in (("repeat_share", form.REPEATS), ("check_share", form.CHECKS))
            )
        message = gr.HTML(visible=False, elem_classes="hy-panel-message")
        with gr.Row(elem_classes="hy-buttons hy-panel-buttons"):
            save = gr.Button(_("Save"), variant="primary", size="md", scale=0, min_width=110)
            cancel = gr.Button(_("Cancel"), size="md", scale=0, min_width=110)
    return Edit(
        editing,
        name,
        guidelines,
        reason,
        voters,
        aspects,
        adjudicators,
        repeats,
        checks,
        message,
        save,
        cancel,
    )


def _extend() -> Extend:
    with gr.Group(visible=False, elem_classes="hy-panel") as extending:
        with gr.Row(elem_classes="hy-grid hy-two"), gr.Column(min_width=220, elem_classes="hy-field"):
            votes = gr.Number(
                1,
                precision=0,
                label=_("Votes on each comparison"),
                info=_("Each from another person. Fewer delete no votes."),
                elem_id="more-votes",
            )
        votes_message = gr.HTML(visible=False, elem_classes="hy-panel-message")
        with gr.Row(elem_classes="hy-buttons hy-panel-buttons"):
            votes_save = gr.Button(_("Set votes"), variant="primary", size="md", scale=0, min_width=140)
        prompts = source.lay_out("more", _("More prompts"))
        with gr.Row(elem_classes="hy-buttons hy-panel-buttons"):
            prompts_save = gr.Button(_("Add prompts"), variant="primary", size="md", scale=0, min_width=140)
            cancel = gr.Button(_("Cancel"), size="md", scale=0, min_width=110)
    return Extend(extending, votes, votes_save, votes_message, prompts, prompts_save, cancel)
