"""The form that starts a campaign: its components, and the values that a browser sends for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import gradio as gr
from markupsafe import Markup

from app import given_answers
from app.i18n import N_, _
from app.store.aspects import MAX_ASPECTS, USUAL
from app.store.campaigns import MAX_SHARE
from app.store.conversations import MAX_CONTENDERS, Decoding
from app.store.enums import CampaignForm, CampaignOrder
from app.ui import widgets
from app.ui.campaigns import answered, source
from app.ui.campaigns.answered import GivenFiles
from app.ui.campaigns.source import GivenPrompts, PromptSource
from app.ui.updates import Updates, named

FORMS: Final = [
    (N_("Two answers at a time"), CampaignForm.PAIRS.value),
    (N_("All answers: the best and the worst"), CampaignForm.BEST_WORST.value),
]
ORDERS: Final = [
    (N_("The pair that a vote tells most about"), CampaignOrder.INFORMATIVE.value),
    (N_("In order"), CampaignOrder.IN_ORDER.value),
]

ASPECTS: Final = N_("Asked after each vote, one key each. Choose, or type your own; up to five.")
REPEATS: Final = N_("Comparisons shown a second time: 10 adds one for every ten. They are no votes.")
CHECKS: Final = N_("An answer beside one to another prompt, to find careless votes. They are no votes.")

FIELDS: Final = (
    "contenders",
    *answered.FIELDS,
    "source",
    "dataset",
    "count",
    "file",
    "pasted",
    "samples",
    "max_new_tokens",
    "temperature",
    "top_p",
    "seed",
    "votes_wanted",
    "form",
    "order",
    "ask_reason",
    "voters",
    "guidelines",
    "aspects",
    "repeat_share",
    "check_share",
    "name",
)
"""The form's fields, in the order in which handlers receive their values."""

TITLES: Final = {
    "contenders": N_("Contenders"),
    "answers": N_("Answers from files"),
    "prompts": N_("Prompts"),
    "samples": N_("Answers to each prompt"),
    "max_new_tokens": N_("Longest answer"),
    "temperature": N_("Temperature"),
    "top_p": N_("Top-p"),
    "seed": N_("Seed"),
    "votes_wanted": N_("Votes on each comparison"),
    "voters": N_("Who may vote"),
    "guidelines": N_("Guidelines"),
    "aspects": N_("Aspects"),
    "repeat_share": N_("Repeats, %"),
    "check_share": N_("Attention checks, %"),
    "name": N_("Name"),
}
"""Titles of the fields that have a message below them."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "contenders": [],
    "answer_names": "",
    "only_answered": False,
    "source": source.DATASET,
    "dataset": None,
    "count": 50,
    "pasted": "",
    "samples": 1,
    "max_new_tokens": 128,
    "temperature": 0.7,
    "top_p": 1.0,
    "seed": None,
    "votes_wanted": 1,
    "form": CampaignForm.PAIRS.value,
    "order": CampaignOrder.INFORMATIVE.value,
    "ask_reason": False,
    "voters": [],
    "guidelines": "",
    "aspects": [],
    "repeat_share": 0,
    "check_share": 0,
    "name": "",
}
"""The values of an untouched form, except the files."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form: fields by name, messages by field, and the summary with the button."""

    new: gr.Column
    inputs: dict[str, Any]
    messages: dict[str, gr.HTML]
    prompts: PromptSource
    answers: gr.Accordion
    decoding: gr.Accordion
    summary: gr.HTML
    start: gr.Button
    outcome: gr.HTML
    draft: gr.BrowserState

    @property
    def in_order(self) -> list[Any]:
        """The inputs of a handler."""
        return [self.inputs[name] for name in FIELDS]

    @property
    def outputs(self) -> dict[str, Any]:
        """The components that a preview may change."""
        said = {f"{name}_message": message for name, message in self.messages.items()}
        sections = {"answers": self.answers, "decoding": self.decoding}
        return {"summary": self.summary, "draft": self.draft, **sections, **said}

    @property
    def filled(self) -> dict[str, Any]:
        """The components that are filled when the page is opened."""
        visible = {name: part for name, part in named(self.prompts).items() if name == "of_dataset"}
        return {"new": self.new, **self.inputs, **visible}


def lay_out() -> Form:
    """Lay out the form, hidden until it is asked for."""
    inputs: dict[str, Any] = {}
    messages: dict[str, gr.HTML] = {}
    with gr.Column(visible=False, elem_classes="hy-page") as new, gr.Row(elem_classes="hy-launch"):
        with gr.Column(scale=3, min_width=320):
            prompts, answers = _asked(inputs, messages)
            _judged(inputs, messages)
            decoding = _decoding(inputs, messages)
            with gr.Group(elem_classes="hy-panel"):
                inputs["name"] = gr.Textbox(
                    label=_(TITLES["name"]),
                    info=_("Name of the campaign; generated if empty."),
                    max_lines=1,
                    elem_id="campaign-name",
                )
                messages["name"] = gr.HTML(visible=False, elem_classes="hy-panel-message")
        with gr.Column(scale=2, min_width=300, elem_classes="hy-aside"):
            summary = gr.HTML()
            start = gr.Button(_("Start"), variant="primary", size="lg", elem_id="campaign-start")
            outcome = gr.HTML()
    draft = gr.BrowserState({}, storage_key="hypo-campaign", secret="hypo-campaign")
    return Form(new, inputs, messages, prompts, answers, decoding, summary, start, outcome, draft)


def _asked(inputs: dict[str, Any], messages: dict[str, gr.HTML]) -> tuple[PromptSource, gr.Accordion]:
    """Who answers what."""
    with gr.Group(elem_classes="hy-panel"):
        inputs["contenders"] = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=MAX_CONTENDERS,
            label=_(TITLES["contenders"]),
            info=_(
                "Two to four: the reference, checkpoints of finished runs, endpoints, answers from files."
            ),
            elem_id="campaign-contenders",
        )
        messages["contenders"] = gr.HTML(visible=False, elem_classes="hy-panel-message")
    answers, files, messages["answers"] = answered.lay_out()
    inputs.update(files)
    with gr.Group(elem_classes="hy-panel"):
        prompts = source.lay_out("campaign", kinds=[*source.KINDS, source.OF_ANSWERS])
        for name in source.FIELDS:
            inputs[name] = getattr(prompts, name)
        messages["prompts"] = prompts.prompts_message
        _number(inputs, messages, "samples", _("Each with another seed. One is usual."))
    return prompts, answers


def _judged(inputs: dict[str, Any], messages: dict[str, gr.HTML]) -> None:
    """How people judge."""
    with gr.Group(elem_classes="hy-panel"):
        inputs["form"] = gr.Radio(
            [(_(title), value) for title, value in FORMS],
            value=CampaignForm.PAIRS.value,
            label=_("People judge"),
            info=_("With two contenders both are the same."),
            elem_id="campaign-form",
        )
        _number(inputs, messages, "votes_wanted", _("Each from another person."))
        inputs["order"] = gr.Radio(
            [(_(title), value) for title, value in ORDERS],
            value=CampaignOrder.INFORMATIVE.value,
            label=_("What comes next"),
            elem_id="campaign-order",
        )
        inputs["voters"] = gr.Dropdown(
            [],
            multiselect=True,
            label=_(TITLES["voters"]),
            info=_("Nobody named: everybody with a login."),
            visible=False,
            elem_id="campaign-voters",
        )
        messages["voters"] = gr.HTML(visible=False, elem_classes="hy-panel-message")
        inputs["ask_reason"] = gr.Checkbox(
            label=_("Ask for a reason after each vote"), elem_id="campaign-reason"
        )
        inputs["guidelines"] = gr.Textbox(
            label=_(TITLES["guidelines"]),
            info=_("What voters should look for, in Markdown. Optional."),
            lines=3,
            max_lines=14,
            max_length=20_000,
            elem_id="campaign-guidelines",
        )
        messages["guidelines"] = gr.HTML(visible=False, elem_classes="hy-panel-message")
        inputs["aspects"] = aspects_field("campaign-aspects")
        messages["aspects"] = gr.HTML(visible=False, elem_classes="hy-panel-message")
        _number(inputs, messages, "repeat_share", _(REPEATS))
        _number(inputs, messages, "check_share", _(CHECKS))


def aspects_field(elem_id: str) -> gr.Dropdown:
    """The names of the aspects: usual ones, or typed."""
    return gr.Dropdown(
        aspect_choices(USUAL),
        multiselect=True,
        max_choices=MAX_ASPECTS,
        allow_custom_value=True,
        label=_(TITLES["aspects"]),
        info=_(ASPECTS),
        elem_id=elem_id,
    )


def aspect_choices(names: Sequence[str]) -> list[tuple[str, str]]:
    """The names of aspects as choices, each once."""
    return [(aspect_name(name), name) for name in dict.fromkeys(names)]


def aspect_name(name: str) -> str:
    """The name of an aspect; a usual one in the present language."""
    return _(name) if name in USUAL else name


def _decoding(inputs: dict[str, Any], messages: dict[str, gr.HTML]) -> gr.Accordion:
    decoding = gr.Accordion(_("Decoding"), open=False, elem_id="campaign-decoding")
    with decoding:
        with gr.Row():
            inputs["max_new_tokens"] = gr.Slider(
                1, 1024, 128, step=1, label=_("Longest answer, tokens"), min_width=240
            )
            inputs["temperature"] = gr.Slider(
                0, 2, 0.7, step=0.05, label=_("Temperature"), info=_("0 always takes the most likely token."),
                min_width=240,
            )  # fmt: skip
            inputs["top_p"] = gr.Slider(0.05, 1, 1.0, step=0.05, label=_("Top-p"), min_width=240)
            inputs["seed"] = gr.Number(
                None, precision=0, label=_("Seed"), info=_("A new one if empty."), min_width=240
            )
        for name in ("max_new_tokens", "temperature", "top_p", "seed"):
            messages[name] = gr.HTML(visible=False, elem_classes="hy-panel-message")
    return decoding


def _number(inputs: dict[str, Any], messages: dict[str, gr.HTML], name: str, info: str) -> None:
    with gr.Row(elem_classes="hy-grid hy-two"), gr.Column(min_width=220, elem_classes="hy-field"):
        inputs[name] = gr.Number(
            DEFAULTS[name], precision=0, label=_(TITLES[name]), info=info, elem_id=f"campaign-{name}"
        )
        messages[name] = gr.HTML(visible=False)


# --- values ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """The form's values, as a browser sent them."""

    values: dict[str, Any]

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Given":
        """Name the values, which are in the order of `FIELDS`."""
        return cls(dict(zip(FIELDS, values, strict=True)))

    @property
    def contenders(self) -> list[str]:
        return [str(key) for key in self.values["contenders"] or []]

    @property
    def answers(self) -> GivenFiles:
        return GivenFiles(*(self.values[name] for name in answered.FIELDS))

    @property
    def prompts(self) -> GivenPrompts:
        source_of, dataset, count, file, pasted = (self.values[name] for name in source.FIELDS)
        return GivenPrompts(source_of, dataset, count, file, pasted, self.answers)

    def how_many(self) -> int:
        """The number of prompts that are asked, without drawing those of a dataset.

        Raises:
            InvalidInput: without prompts, for a file that cannot be read, or for prompts without an answer.
        """
        answers = self.answers.read()
        if not answers or self.values["source"] == source.DATASET:
            return self.prompts.how_many()
        asked = self.prompts.read(())
        samples, only = max(1, self.whole("samples")), bool(self.values["only_answered"])
        return len(given_answers.covered(asked, answers, samples=samples, only_answered=only))

    @property
    def form(self) -> CampaignForm:
        return CampaignForm(self.values["form"])

    @property
    def decoding(self) -> Decoding:
        given = self.values
        return Decoding(
            self.whole("max_new_tokens"), float(given["temperature"] or 0), float(given["top_p"] or 0)
        )

    def share(self, name: str) -> float:
        """A share that is given in percent; 0 for an empty field."""
        return float(self.values[name] or 0) / 100

    def whole(self, name: str) -> int:
        """A whole number; 0 for an empty field."""
        return int(self.values[name] or 0)

    def draft(self, **changes: Any) -> dict[str, Any]:
        """What the browser remembers for the next campaign, or for a reload."""
        return {**{name: self.values[name] for name in DEFAULTS}, **changes}


def share_error(name: str, percent: float | None) -> str:
    """Why a share, given in percent, cannot be used; empty if it can."""
    if 0 <= (percent or 0) <= 100 * MAX_SHARE:
        return ""
    return _(
        "{field} must be between {low} and {high}.", field=_(TITLES[name]), low=0, high=f"{100 * MAX_SHARE:g}"
    )


def messages(errors: Mapping[str, str]) -> Updates:
    """Updates of the messages below the fields; a closed section opens if it has one."""
    said: Updates = {
        f"{name}_message": gr.update(value=widgets.field_error(errors.get(name, "")), visible=name in errors)
        for name in TITLES
    }
    if errors.keys() & {"max_new_tokens", "temperature", "top_p", "seed"}:
        said["decoding"] = gr.update(open=True)
    if "answers" in errors:
        said["answers"] = gr.update(open=True)
    return said


def titles(errors: Mapping[str, str]) -> Markup:
    """The titles of the fields with errors."""
    return widgets.join([_(TITLES[name]) if name in TITLES else name for name in errors], ", ")
