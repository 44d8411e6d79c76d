"""The launch form, made from the schema: each field has a component, help text and a place for a message."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import annotated_types
import gradio as gr
from markupsafe import Markup
from pydantic.fields import FieldInfo

from hypo_engine.config import TrainConfig, field_errors

SECTIONS: Final = {
    "loss": "Loss",
    "sampling": "Sampling (HyPO)",
    "lengths": "Lengths and prompts",
    "optimiser": "Optimiser",
    "adapter": "Adapter",
    "memory": "Memory and speed",
    "watching": "Watching and saving",
}
"""Sections of Advanced, in order; a group that is not named here comes last, under its own name."""

BY_HAND: Final = ("method", "model_name_or_path", "insist")
"""Fields the page lays out itself: the method may be twins, models are suggested, insisting is rare."""


def group_of(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("group", "other")) if isinstance(extra, dict) else "other"


def names(group: str | None = None) -> list[str]:
    """Fields of a group (or all) that the form makes, in the schema's order."""
    fields = TrainConfig.model_fields.items()
    return [n for n, f in fields if n not in BY_HAND and (group is None or group_of(f) == group)]


def sections() -> Iterator[tuple[str, list[str]]]:
    """Title and fields of each section of Advanced."""
    groups = dict.fromkeys(group_of(field) for field in TrainConfig.model_fields.values())
    for group in [g for g in SECTIONS if g in groups] + [g for g in groups if g not in SECTIONS]:
        if group != "front":
            yield SECTIONS.get(group, group.capitalize()), names(group)


class Form:
    """Components and message places, by the name of the field."""

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.messages: dict[str, gr.HTML] = {}

    def add(self, name: str, component: Any | None = None) -> None:
        """Put a field where the layout stands, with its message under it."""
        self.inputs[name] = component if component is not None else make(name)
        self.messages[name] = gr.HTML(visible=False, elem_classes="hy-field-message")

    def front(self) -> None:
        """The few fields that matter, three in a row."""
        _grid(self, names("front"))

    def advanced(self) -> None:
        """Every other field, by section."""
        for title, fields in sections():
            gr.HTML(Markup('<h3 class="hy-h3">{}</h3>').format(title))
            _grid(self, fields)


def _grid(form: Form, fields: Sequence[str]) -> None:
    with gr.Row(elem_classes="hy-grid"):
        for name in fields:
            with gr.Column(min_width=220, elem_classes="hy-field"):
                form.add(name)


def make(name: str) -> Any:
    """The component that fits a field's type."""
    field = TrainConfig.model_fields[name]
    kind, label = field.annotation, field.title or name
    common: dict[str, Any] = {"label": label, "info": help_text(name), "elem_id": f"field-{name}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return gr.Dropdown([member.value for member in kind], value=plain(field.default), **common)
    if kind is bool:
        return gr.Checkbox(value=field.default, **common)
    if kind in (int, float):
        return gr.Number(value=field.default, **common)
    return gr.Textbox(value=field.default, max_lines=1, **common)


def help_text(name: str) -> str:
    """A field's description, and its bounds where it has any."""
    field = TrainConfig.model_fields[name]
    limits = bounds(field) if field.annotation in (int, float) else ""
    return f"{field.description} {limits}".strip()


def bounds(field: FieldInfo) -> str:
    """The bounds of a number in words: `0 to 10`, `above 0, at most 1`."""
    low = high = ""
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            low = f"{rule.ge:g}" if isinstance(rule.ge, int | float) else ""
        elif isinstance(rule, annotated_types.Gt):
            low = f"above {rule.gt:g}" if isinstance(rule.gt, int | float) else ""
        elif isinstance(rule, annotated_types.Le):
            high = f"{rule.le:,.15g}" if isinstance(rule.le, int | float) else ""
        elif isinstance(rule, annotated_types.Lt):
            high = f"below {rule.lt:g}" if isinstance(rule.lt, int | float) else ""
    if low.startswith("above") and high and not high.startswith("below"):
        return f"({low}, at most {high})"
    if high.startswith("below"):
        return f"({low or 'any'}, {high})" if low.startswith("above") else f"(from {low}, {high})"
    return f"({low} to {high})" if low and high else ""


def plain(value: Any) -> Any:
    """A value as forms, YAML and JSON hold it."""
    return value.value if isinstance(value, Enum) else value


def check(values: Mapping[str, Any], method: str) -> dict[str, str]:
    """One sentence for each bad field, without the field's name: it stands beside the field."""
    real = "hypo" if method == "twins" else method
    found = field_errors({**values, "method": real})
    return {name: _beside(name, sentence) for name, sentence in found.items()}


def _beside(name: str, sentence: str) -> str:
    text = sentence.removeprefix(f"{name}: ")
    return text[:1].upper() + text[1:]
