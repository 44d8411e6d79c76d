"""The judge of a launch: who compares the samples of each evaluation with the reference's."""

from dataclasses import dataclass
from typing import Final

import gradio as gr

from app import endpoints
from app.errors import InvalidInput
from app.judge_kinds import MAX_SPEC_CHARS
from app.run_judges import ENDPOINT, read_judge

NOBODY: Final = ("Nobody", "")
SCORERS: Final = [("vader: the more positive text wins", "vader"), ("length: the longer text wins", "length")]


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """The section, collapsed until somebody opens it or its value is wrong."""

    judging: gr.Accordion
    judge: gr.Dropdown
    judge_message: gr.HTML


def lay_out() -> JudgeChoice:
    """Lay out the section."""
    with gr.Accordion("Judge of the evaluations", open=False, elem_id="launch-judge") as judging:
        judge = gr.Dropdown(
            [NOBODY, *SCORERS],
            value="",
            label="Judge",
            info="Compares each held-out sample with the reference's; the win rate becomes a chart. Also "
            "run:NUMBER of a reward model, its folder or hub id.",
            allow_custom_value=True,
            elem_id="field-judge",
        )
        message = gr.HTML(visible=False)
    return JudgeChoice(judging, judge, message)


def choices() -> list[tuple[str, str]]:
    """Nobody, the configured endpoints, and scorers that need no argument."""
    found = [(f"{one.name}: {one.model}", f"{ENDPOINT}{one.name}") for one in endpoints.configured()]
    return [NOBODY, *found, *SCORERS]


def opened(kept: object) -> dict[str, object]:
    """The field with the judges that there are, and the one of the draft if it still fits."""
    value = kept if isinstance(kept, str) and not error(kept) else ""
    endpoint = "" if endpoints.configured() else " No endpoint is configured, so scorers judge alone."
    info = (
        "Compares each held-out sample with the reference's; the win rate becomes a chart. Also run:NUMBER "
        f"of a reward model, its folder or hub id.{endpoint}"
    )
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
        return {"judge": f"Judge: {str(problem).removeprefix('judge: ')}"}
    return {}
