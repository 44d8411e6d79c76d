"""The launch form, generated from the schema: each field has a component, help text and a message."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import annotated_types
import gradio as gr
from markupsafe import Markup
from pydantic.fields import FieldInfo

from app.launch import LaunchMethod
from app.run_yaml import DEFAULTS
from hypo_engine.assignments import as_number
from hypo_engine.config import TrainConfig, applies, field_problems
from hypo_engine.field_text import bounds

SECTIONS: Final = {
    "loss": "Loss",
    "sampling": "Sampling",
    "lengths": "Lengths and prompts",
    "optimiser": "Optimiser",
    "adapter": "Adapter",
    "memory": "Memory and speed",
    "watching": "Watching and saving",
}
"""Sections of Advanced, in order; unlisted groups come last, under their own name."""

BY_HAND: Final = ("method", "model_name_or_path", "insist")
"""Fields that the page lays out itself.
"""


def group_of(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("group", "other")) if isinstance(extra, dict) else "other"


def names(group: str | None = None) -> list[str]:
    """The generated fields of a group (or of all groups), in the schema's order."""
    fields = TrainConfig.model_fields.items()
    return [n for n, f in fields if n not in BY_HAND and (group is None or group_of(f) == group)]


def sections() -> Iterator[tuple[str, list[str]]]:
    """Title and fields of each section of Advanced."""
    groups = dict.fromkeys(group_of(field) for field in TrainConfig.model_fields.values())
    for group in [g for g in SECTIONS if g in groups] + [g for g in groups if g not in SECTIONS]:
        if group != "front":
            yield SECTIONS.get(group, group.capitalize()), names(group)


SCRIPT: Final = Path(__file__).with_name("fields.js").read_text(encoding="utf-8")
"""The form's script."""


class Form:
    """Components and messages by field name; `below` holds a placeholder below each section, by title."""

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.messages: dict[str, gr.HTML] = {}
        self.below: dict[str, gr.HTML] = {}

    def add(self, name: str, component: Any | None = None) -> None:
        """Add a field at the current position of the layout, with its message below it."""
        self.inputs[name] = component if component is not None else make(name)
        self.messages[name] = gr.HTML(visible=False, elem_classes="hy-field-message")

    def front(self) -> None:
        """The most important fields, three in a row."""
        _grid(self, names("front"))

    def advanced(self) -> None:
        """All other fields, by section."""
        for title, fields in sections():
            useless = set.intersection(*(set(_hidden(name)) for name in fields))
            gr.HTML(Markup('<h2 class="hy-h3">{}</h2>').format(title), elem_classes=sorted(useless))
            _grid(self, fields)
            self.below[title] = gr.HTML()


def _grid(form: Form, fields: Sequence[str]) -> None:
    with gr.Row(elem_classes="hy-grid"):
        for name in fields:
            with gr.Column(min_width=220, elem_classes=["hy-field", *_hidden(name)]):
                form.add(name)


def _hidden(name: str) -> list[str]:
    """CSS classes that hide a field while a method is chosen that does not read it."""
    return [f"hy-not-{method}" for method in LaunchMethod if not _read_by(name, method)]


def _read_by(name: str, method: LaunchMethod) -> bool:
    return any(applies(name, each) for each in method.methods)


def relevant(values: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The values with defaults for fields that the method does not read, as the form hides them."""
    if method not in list(LaunchMethod):
        return dict(values)
    read = LaunchMethod(method)
    return {name: value if _read_by(name, read) else DEFAULTS[name] for name, value in values.items()}


def make(name: str) -> Any:
    """A component that matches a field's type."""
    field = TrainConfig.model_fields[name]
    kind, label = field.annotation, field.title or name
    common: dict[str, Any] = {"label": label, "info": help_text(name), "elem_id": f"field-{name}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return gr.Dropdown([member.value for member in kind], value=plain(field.default), **common)
    if kind is bool:
        return gr.Checkbox(value=field.default, **common)
    if kind is int:
        return gr.Number(value=field.default, **common)
    if kind is float:  # gr.Number would step by 1 and show 1e-5 as 0.00001; fields.js steps by ratio
        return gr.Textbox(value=repr(field.default), max_lines=1, elem_classes=ratio_classes(name), **common)
    return gr.Textbox(value=field.default, max_lines=1, **common)


def help_text(name: str) -> str:
    """A field's description and, for numbers, its bounds."""
    field = TrainConfig.model_fields[name]
    limits = bounds(field) if field.annotation in (int, float) else ""
    return f"{field.description} ({limits})" if limits else str(field.description)


def ratio_classes(name: str) -> list[str]:
    """CSS classes that mark a fraction for fields.js; `hy-from-zero` marks one that may be zero."""
    zero = not any(isinstance(rule, annotated_types.Gt) for rule in TrainConfig.model_fields[name].metadata)
    return ["hy-ratio", "hy-from-zero"] if zero else ["hy-ratio"]


def title(name: str) -> str:
    """A field's label; `dataset` and `name` are not in the schema."""
    field = TrainConfig.model_fields.get(name)
    return (field.title if field else None) or name.capitalize()


def titles(names: Iterable[str]) -> str:
    """Labels of several fields, separated by commas."""
    return ", ".join(title(name) for name in names)


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Raw values in schema types: fractions are entered as text."""
    fields = TrainConfig.model_fields
    return {
        name: as_number(value) if fields[name].annotation is float else value
        for name, value in values.items()
    }


def plain(value: Any) -> Any:
    """A value as stored in forms, YAML and JSON."""
    return value.value if isinstance(value, Enum) else value


def engine_method(method: str) -> str:
    """The engine's method behind a choice of the form; the one that does more in the case of twins."""
    return LaunchMethod(method).methods[-1].value if method in list(LaunchMethod) else method


def check(values: Mapping[str, Any], method: str) -> dict[str, str]:
    """One sentence per invalid field, starting with its label."""
    found = field_problems({**values, "method": engine_method(method)})
    return {name: f"{title(name)} {problem}." for name, problem in found.items()}
