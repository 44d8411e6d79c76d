"""The components of the compare page, by section."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app import demo
from app.i18n import _
from app.store.conversations import MAX_CONTENDERS
from app.ui import formatting, widgets
from app.ui.compare import view as compare_view
from app.ui.compare.show import SIDES, Seen
from app.ui.updates import named

REFRESH_SECONDS = 0.3
_HERE = Path(__file__).parent
STYLE = f"<style>{(_HERE / 'compare.css').read_text(encoding='utf-8')}</style>"
VOTE_KEYS = (_HERE / "compare.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Setup:
    """The contenders and their decoding."""

    setup: gr.Group
    contenders: gr.Dropdown
    twins: gr.Button
    untrained: gr.HTML
    blind: gr.Checkbox
    seed: gr.Number
    max_new_tokens: gr.Slider
    temperature: gr.Slider
    top_p: gr.Slider


@dataclass(frozen=True, slots=True)
class Side:
    """The column of one contender's answer."""

    column: gr.Column
    panel: gr.HTML
    stop: gr.Button
    again: gr.Button


@dataclass(frozen=True, slots=True)
class Conversation:
    """The questions and answers so far."""

    summary: gr.HTML
    earlier: gr.HTML
    question: gr.HTML
    sides: tuple[Side, ...]
    stop_all: gr.Button


@dataclass(frozen=True, slots=True)
class Voting:
    """The vote buttons for two answers, those for three or four, and the reason."""

    voting: gr.Column
    votes_two: gr.Row
    vote_a: gr.Button
    vote_tie: gr.Button
    vote_bad: gr.Button
    vote_b: gr.Button
    votes_many: gr.Row
    best: gr.Radio
    worst: gr.Radio
    vote_many: gr.Button
    vote_many_tie: gr.Button
    vote_many_bad: gr.Button
    vote_note: gr.HTML
    reason: gr.Textbox
    withdraw: gr.Button
    show_names: gr.Button


@dataclass(frozen=True, slots=True)
class Question:
    """The next question, with the messages that precede it."""

    continues: gr.Radio
    opening: gr.State
    opening_box: gr.Column
    opening_shown: gr.HTML
    drop_opening: gr.Button
    ask_row: gr.Row
    ask_box: gr.Textbox
    ask: gr.Button
    ask_note: gr.HTML
    prompts: gr.Column
    random: gr.Button


@dataclass(frozen=True, slots=True)
class Frame:
    """Components outside the sections.

    `seen` is the state that the open page shows, `kept` the setup that this browser asked last.
    """

    conversation: gr.Number
    seen: gr.State
    kept: gr.BrowserState
    no_worker: gr.HTML
    recent: gr.HTML
    timer: gr.Timer
    look: gr.Button


@dataclass(frozen=True, slots=True)
class Layout:
    """All sections of the page."""

    frame: Frame
    setup: Setup
    conversation: Conversation
    voting: Voting
    question: Question

    @property
    def components(self) -> dict[str, Any]:
        """All components by name; a side's names end with its number, as in `panel0`."""
        sides = {
            f"{name}{number}": component
            for number, side in enumerate(self.conversation.sides)
            for name, component in named(side).items()
        }
        return {**named(self.frame, self.setup, self.conversation, self.voting, self.question), **sides}


def lay_out() -> Layout:
    """Lay out the whole page."""
    gr.HTML(STYLE, padding=False, visible="hidden")
    gr.HTML(
        widgets.page_header(
            _("Compare"),
            (_("Ask once. All models answer with the same seed and decoding. Vote for the better answer.")),
        ),
        js_on_load=VOTE_KEYS,
    )
    conversation = gr.Number(0, visible="hidden", precision=0)
    seen = gr.State(Seen())
    kept = gr.BrowserState({}, storage_key="hypo-compare", secret="hypo-compare")
    no_worker = gr.HTML(compare_view.no_worker(), visible=False)
    sections = (_setup(), _conversation(), _voting(), _question())
    recent = gr.HTML(elem_id="hy-recent")
    timer = gr.Timer(REFRESH_SECONDS, active=False)
    look = gr.Button("Look", visible="hidden", elem_id="hy-look")
    return Layout(Frame(conversation, seen, kept, no_worker, recent, timer, look), *sections)


def _setup() -> Setup:
    with gr.Group(visible=False) as setup:
        with gr.Row(elem_classes="hy-setup"):
            contenders = gr.Dropdown(
                [],
                multiselect=True,
                max_choices=MAX_CONTENDERS,
                label=_("Contenders"),
                info=_("Up to four: the reference, and checkpoints of finished runs."),
                scale=4,
                min_width=280,
            )
            blind = gr.Checkbox(
                True,
                label=_("Blind"),
                info=_("Each question hides the names and shuffles the sides until you vote."),
                min_width=200,
                scale=1,
            )
        twins = gr.Button("", size="sm", visible=False, elem_id="compare-twins", elem_classes="hy-offer")
        untrained = gr.HTML(visible=False, elem_classes="hy-offer")
        with gr.Accordion(_("Decoding"), open=False), gr.Row():
            seed = gr.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label=_("Seed"), min_width=120)
            longest = gr.Slider(1, 1024, 128, step=1, label=_("Longest answer, tokens"), min_width=160)
            temperature = gr.Slider(
                0,
                2,
                0.7,
                step=0.05,
                label=_("Temperature"),
                info=_("0 always takes the most likely token."),
                min_width=160,
            )
            top_p = gr.Slider(0.05, 1, 1.0, step=0.05, label=_("Top-p"), min_width=160)
    return Setup(setup, contenders, twins, untrained, blind, seed, longest, temperature, top_p)


def _conversation() -> Conversation:
    summary = gr.HTML(visible=False)
    earlier = gr.HTML(visible=False)
    question = gr.HTML(visible=False)
    with gr.Row(elem_classes="hy-panels", equal_height=True):
        sides = tuple(_side() for _number in SIDES)
    stop_all = gr.Button(_("Stop all"), size="sm", visible=False, elem_classes="hy-narrow")
    return Conversation(summary, earlier, question, sides, stop_all)


def _side() -> Side:
    with gr.Column(visible=False, min_width=240) as column:
        panel = gr.HTML()
        with gr.Row(elem_classes="hy-answer-actions"):
            stop = gr.Button(_("Stop"), size="sm", scale=0, min_width=80, visible=False)
            again = gr.Button(_("Regenerate"), size="sm", scale=0, min_width=110, visible=False)
    return Side(column, panel, stop, again)


def _voting() -> Voting:
    with gr.Column(visible=False, elem_classes="hy-voting") as voting:
        with gr.Row(visible=False, elem_classes="hy-votes") as votes_two:
            vote_a = gr.Button(_("A is better"), elem_id="hy-vote-a", min_width=150)
            vote_tie = gr.Button(_("Tie"), elem_id="hy-vote-tie", min_width=150)
            vote_bad = gr.Button(_("Both bad"), elem_id="hy-vote-bad", min_width=150)
            vote_b = gr.Button(_("B is better"), elem_id="hy-vote-b", min_width=150)
        with gr.Row(visible=False, elem_classes="hy-votes") as votes_many:
            best = gr.Radio([], label=_("Best"), min_width=200, scale=3)
            worst = gr.Radio([], label=_("Worst"), min_width=200, scale=3)
            with gr.Column(scale=2, min_width=180):
                many = gr.Button(_("Vote best and worst"))
                with gr.Row():
                    all_alike = gr.Button(_("All alike"), min_width=80, size="md")
                    all_bad = gr.Button(_("All bad"), min_width=80, size="md")
        note = gr.HTML()
        with gr.Row(elem_classes="hy-reason"):
            reason = gr.Textbox(
                label=_("Reason (optional)"), max_lines=3, max_length=4000, scale=5, min_width=240
            )
            withdraw = gr.Button(_("Withdraw vote"), size="sm", scale=0, min_width=140, visible=False)
            show_names = gr.Button(
                _("Show names without a vote"), size="sm", scale=0, min_width=210, visible=False
            )
    return Voting(
        voting=voting,
        votes_two=votes_two,
        vote_a=vote_a,
        vote_tie=vote_tie,
        vote_bad=vote_bad,
        vote_b=vote_b,
        votes_many=votes_many,
        best=best,
        worst=worst,
        vote_many=many,
        vote_many_tie=all_alike,
        vote_many_bad=all_bad,
        vote_note=note,
        reason=reason,
        withdraw=withdraw,
        show_names=show_names,
    )


def _question() -> Question:
    continues = gr.Radio(
        [], label=_("The next question continues from answer"), visible=False, elem_classes="hy-continues"
    )
    opening = gr.State([])
    with gr.Column(visible=False) as opening_box:
        opening_shown = gr.HTML()
        drop_opening = gr.Button(_("Ask without these messages"), size="sm", elem_classes="hy-narrow")
    with gr.Row(visible=False, elem_classes="hy-ask", equal_height=False) as ask_row:
        ask_box = gr.Textbox(
            label=_("Question"),
            placeholder=_("Enter sends, Shift+Enter starts a new line."),
            lines=1,
            max_lines=12,
            scale=6,
            min_width=260,
            elem_id="hy-question",
        )
        with gr.Column(scale=1, min_width=170):
            ask = gr.Button(_("Ask"), variant="primary", elem_id="hy-ask", interactive=False)
    ask_note = gr.HTML(elem_id="hy-ask-note")
    with gr.Column(visible=False) as prompts:
        random = gr.Button(_("Random held-out prompt"), size="sm", elem_classes="hy-narrow")
        _examples(ask_box)
    of_opening = (opening, opening_box, opening_shown, drop_opening)
    return Question(continues, *of_opening, ask_row, ask_box, ask, ask_note, prompts, random)


def _examples(ask_box: gr.Textbox) -> None:
    """Buttons that fill the question box with the first held-out prompts of the demo."""
    examples = demo.held_out_questions()[:3]
    gr.Examples(
        [[text] for text in examples],
        [ask_box],
        label=_("Held-out prompts of the demo"),
        example_labels=[formatting.clip(text.split("\n")[0], 60) for text in examples],
        api_visibility="private",
        elem_id="hy-compare-examples",
    )
