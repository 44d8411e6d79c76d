"""The sweep of a launch: several values for some options."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import gradio as gr

from app import sweeps
from app.i18n import _
from app.sweeps import Sweep

MAX_CHARS: Final = 2000
_SHOWN: Final = ("beta=0.03,0.1", "learning_rate=1e-5..1e-3:3")


@dataclass(frozen=True, slots=True)
class SweepChoice:
    """The section, collapsed until somebody opens it or its value is wrong."""

    sweeping: gr.Accordion
    sweep: gr.Textbox
    trials: gr.Number
    sweep_message: gr.HTML


def lay_out() -> SweepChoice:
    """Lay out the section."""
    with gr.Accordion(_("Sweep"), open=False, elem_id="launch-sweep") as sweeping:
        sweep = gr.Textbox(
            "",
            label=_("Values to combine"),
            info=_("One option a line: NAME=VALUES or NAME=LOW..HIGH:COUNT. Each combination is a run."),
            placeholder="\n".join(_SHOWN),
            lines=2,
            max_lines=8,
            max_length=MAX_CHARS,
            elem_id="field-sweep",
        )
        trials = gr.Number(
            label=_("Combinations to draw at random"),
            info=_("Empty: all of them, at most {most} runs.", most=sweeps.MOST),
            value=None,
            precision=0,
            minimum=1,
            maximum=sweeps.MOST,
            elem_id="field-trials",
        )
        message = gr.HTML(visible=False)
    return SweepChoice(sweeping, sweep, trials, message)


def opened(kept: object) -> dict[str, object]:
    """The fields as the draft has them."""
    draft = kept if isinstance(kept, Mapping) else {}
    text, drawn = draft.get("sweep"), draft.get("trials")
    return {"sweep": text if isinstance(text, str) else "", "trials": read_trials(drawn)}


def read(text: object) -> Sweep:
    """The sweep of the field.

    Raises:
        InvalidInput: says what to write.
    """
    lines = [line.strip() for line in str(text or "")[:MAX_CHARS].splitlines()]
    return sweeps.read_sweep([line for line in lines if line])


def read_trials(value: Any) -> int | None:
    """The number of combinations to draw; None for all of them."""
    usable = isinstance(value, int | float) and 1 <= value <= sweeps.MOST
    return int(value) if usable else None
