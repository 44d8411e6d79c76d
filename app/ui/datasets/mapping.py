"""The form fields that map a file's columns, prefilled with a guess."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from app.i18n import N_, _
from app.ui import formatting
from app.ui.updates import Updates
from hypo_engine.data.formats import WinnerMapping
from hypo_engine.errors import DataError

RECOGNISED, PAIR, WINNER = "recognised", "pair", "winner"
SHARED = ""
"""The prompt's value when the prompt is the common beginning of both answers."""
NAMES = ("kind", "prompt", "system", "chosen", "rejected", "a", "b", "winner", "a_wins", "b_wins")
_OF_KIND = {PAIR: ("prompt", "system", "chosen", "rejected"), WINNER: ("prompt", "system", *NAMES[5:])}
_KINDS = {PAIR: N_("A chosen and a rejected answer"), WINNER: N_("Two answers, and which is better")}
_COLUMNS = NAMES[1:8]
_MISSING = {
    "prompt": N_("the prompt"),
    "chosen": N_("the chosen answer"),
    "rejected": N_("the rejected answer"),
    "a": N_("answer A"),
    "b": N_("answer B"),
    "winner": N_("the better one"),
}


class MappingFields:
    """The block of fields; the functions of this module return updates of its `outputs`."""

    def __init__(self) -> None:
        with gr.Accordion(_("Columns"), open=True, visible=False) as self.block:
            kind = gr.Radio(_kinds(), value=PAIR, label=_("Each row holds"))
            with gr.Row():
                prompt = gr.Dropdown([], label=_("Prompt"), interactive=True)
                system = gr.Dropdown(
                    [], label=_("System text"), info=_("May be left empty."), interactive=True
                )
            with gr.Row() as self.of_pair:
                chosen = gr.Dropdown([], label=_("Chosen answer"), interactive=True)
                rejected = gr.Dropdown([], label=_("Rejected answer"), interactive=True)
            with gr.Column(visible=False) as self.of_winner:
                with gr.Row():
                    a = gr.Dropdown([], label=_("Answer A"), interactive=True)
                    b = gr.Dropdown([], label=_("Answer B"), interactive=True)
                    winner = gr.Dropdown([], label=_("Which is better"), interactive=True)
                with gr.Row():
                    a_wins = gr.Textbox(
                        label=_("Values that mean A"),
                        info=_("Separated by commas; bounds such as <0 or >=4 are allowed."),
                        max_length=500,
                    )
                    b_wins = gr.Textbox(
                        label=_("Values that mean B"),
                        info=_("Rows with any other value are left out: ties, both bad."),
                        max_length=500,
                    )
        self.inputs: list[Any] = [kind, prompt, system, chosen, rejected, a, b, winner, a_wins, b_wins]
        self.wins: list[Any] = [a_wins, b_wins]

    @property
    def outputs(self) -> dict[str, Any]:
        """The block, its two groups and its fields, by name."""
        groups = {"columns": self.block, "of_pair": self.of_pair, "of_winner": self.of_winner}
        return {**groups, **dict(zip(NAMES, self.inputs, strict=True))}

    def changes(self) -> list[Any]:
        """The events that fire when the user edits a field."""
        chosen = [field.input for field in self.inputs if field not in self.wins]
        written = [event for field in self.wins for event in (field.submit, field.blur)]
        return [*chosen, *written]


def _kinds() -> list[tuple[str, str]]:
    return [(_(title), kind) for kind, title in _KINDS.items()]


def hidden() -> Updates:
    """Updates that clear and hide the block."""
    return offered((), {}, recognised="")


def offered(columns: Sequence[str], proposal: Mapping[str, Any], *, recognised: str) -> Updates:
    """Updates that show the block with the columns as choices.

    Args:
        proposal: initial values; see `hypo_engine.data.proposal.propose`.
        recognised: title of the recognised format, which needs no mapping; "" if unknown.
    """
    known = [(_("As recognised: {format}", format=recognised), RECOGNISED)] if recognised else []
    kind = RECOGNISED if recognised else WINNER if "a" in proposal else PAIR
    values = {name: proposal.get(name) for name in _COLUMNS}
    if proposal and "prompt" not in proposal and kind == WINNER:
        values["prompt"] = SHARED
    return {
        "columns": gr.update(visible=bool(columns), open=not recognised),
        **shown_for(kind),
        "kind": gr.update(choices=[*known, *_kinds()], value=kind),
        **{name: gr.update(choices=_choices(name, columns), value=values[name]) for name in _COLUMNS},
        **{name: gr.update(value=", ".join(proposal.get(name, ()))) for name in ("a_wins", "b_wins")},
    }


def values_of(how: object) -> Updates:
    """Updates of the values that mean A and B, as parsed from a mapping."""
    if not isinstance(how, WinnerMapping):
        return {}
    return {
        "a_wins": gr.update(value=", ".join(how.a_wins)),
        "b_wins": gr.update(value=", ".join(how.b_wins)),
    }


def shown_for(kind: str) -> Updates:
    """Updates that show the group of fields for this kind of row and hide the other."""
    return {"of_pair": gr.update(visible=kind == PAIR), "of_winner": gr.update(visible=kind == WINNER)}


def _choices(name: str, columns: Sequence[str]) -> list[tuple[str, str]]:
    listed = [(column, column) for column in columns]
    if name == "prompt":
        return [*listed, (_("what both answers begin with"), SHARED)]
    return [(_("none"), ""), *listed] if name == "system" else listed


def given(values: Sequence[Any]) -> dict[str, Any] | None:
    """The entered mapping, or None if it is empty; `values` are in the order of NAMES.

    Raises:
        DataError: if a required field is empty.
    """
    said = dict(zip(NAMES, values, strict=True))
    names = _OF_KIND.get(said["kind"], ())
    if not any(said[name] for name in names):
        return None
    missing = [name for name in names if name in _COLUMNS and name != "system" and said[name] is None]
    if missing:
        named = formatting.in_words([_(_MISSING[name]) for name in missing])
        raise DataError(_("Choose a column for {fields}.", fields=named))
    return {name: said[name] for name in names}
