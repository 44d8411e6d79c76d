"""The judge of a launch: who compares the samples of each evaluation with the reference's."""

from dataclasses import dataclass
from typing import Final

import gradio as gr

from app import endpoints
from app.errors import InvalidInput
from app.i18n import N_, _, in_language
from app.judge_kinds import MAX_SPEC_CHARS
from app.run_judges import ENDPOINT, read_judge

NOBODY: Final = (N_("Nobody"), "")
SCORERS: Final = [
    (N_("vader: the more positive text wins"), "vader"),
    (N_("length: the longer text wins"), "length"),
]
ABOUT: Final = N_(
    "Compares each held-out sample with the reference's; the win rate becomes a chart. Also run:NUMBER of a "
    "reward model, its folder or hub id."
)


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """The section, collapsed until somebody opens it or its value is wrong."""

    judging: gr.Accordion
    judge: gr.Dropdown
    judge_message: gr.HTML


def lay_out() -> JudgeChoice:
    """Lay out the section."""
    with gr.Accordion(_("Judge of the evaluations"), open=False, elem_id="launch-judge") as judging:
        judge = gr.Dropdown(
            _spoken([NOBODY, *SCORERS]),
            value="",
            label=_("Judge"),
            info=_(ABOUT),
            allow_custom_value=True,
            elem_id="field-judge",
        )
        message = gr.HTML(visible=False)
    return JudgeChoice(judging, judge, message)


def choices() -> list[tuple[str, str]]:
    """Nobody, the configured endpoints, and scorers that need no argument."""
    found = [(f"{one.name}: {one.model}", f"{ENDPOINT}{one.name}") for one in endpoints.configured()]
    return [*_spoken([NOBODY]), *found, *_spoken(SCORERS)]


def _spoken(choices: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(_(label), value) for label, value in choices]


def opened(kept: object) -> dict[str, object]:
    """The field with the judges that there are, and the one of the draft if it still fits."""
    value = kept if isinstance(kept, str) and not error(kept) else ""
    alone = "" if endpoints.configured() else _("No endpoint is configured, so scorers judge alone.")
    info = f"{_(ABOUT)} {alone}".rstrip()
    return {"judge": gr.update(choices=choices(), value=value, info=info)}


def given(value: object) -> str:
    """The judge as the launch takes it; what is too long is cut, and refused by `error`."""
    return str(value or "").strip()[: MAX_SPEC_CHARS + 1]


def error(value: object) -> dict[str, str]:
    """The validation error of the field, if any."""
    name = given(value)
    if not name:
        return {}
    try:
        read_judge(name)
    except InvalidInput as problem:
        why = in_language(str(problem).removeprefix("judge: "))
        return {"judge": _("Judge: {problem}", problem=why)}
    return {}
