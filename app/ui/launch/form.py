"""The launch form, generated from the schema: each field has a component, help text and a message."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import annotated_types
import gradio as gr
from markupsafe import Markup
from pydantic.fields import FieldInfo

from app.errors import InvalidInput
from app.i18n import N_, _, in_language
from app.launch_methods import TRAIN_FIRST, launch_problems, read_methods
from app.run_yaml import DEFAULTS
from hypo_engine.assignments import as_number
from hypo_engine.config import Method, TrainConfig, applies
from hypo_engine.field_text import limits

SECTIONS: Final = {
    "loss": N_("Loss"),
    "ppo": "PPO",
    "sampling": N_("Sampling"),
    "lengths": N_("Lengths and prompts"),
    "optimiser": N_("Optimiser"),
    "adapter": N_("Adapter"),
    "memory": N_("Memory and speed"),
    "watching": N_("Watching and saving"),
}
"""Sections of Advanced, in order; unlisted groups come last, under their own name."""

BY_HAND: Final = ("method", "model_name_or_path", "insist")
"""Fields that the page lays out itself.
"""

OTHER_TITLES: Final = {
    "dataset": N_("Dataset"),
    "name": N_("Name"),
    "method": N_("Method"),
    "judge": N_("Judge"),
    "sweep": N_("Sweep"),
}
"""Labels of fields that are not in the schema."""

BOUNDS: Final = {
    (True, False, False): N_("{low} to {high}"),
    (True, True, False): N_("above {low}, at most {high}"),
    (True, False, True): N_("from {low} to below {high}"),
    (True, True, True): N_("above {low} and below {high}"),
}
"""A number's bounds in words: whether there are two, and whether the lower and the upper one are excluded."""

REWARDS: Final[list[tuple[str, str] | str]] = [
    (N_("None"), ""),
    (N_("Train a reward model first"), TRAIN_FIRST),
    "length",
    "vader",
]
"""Rewards that the form offers; others are typed."""


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
            used = {method for name in fields for method in readers(name)}
            gr.HTML(Markup('<h2 class="hy-h3">{}</h2>').format(_(title)), elem_classes=shown_for(used))
            _grid(self, fields)
            self.below[title] = gr.HTML()


def shown_for(methods: Collection[Method]) -> list[str]:
    """CSS classes that hide something unless one of the methods is chosen; none if every method uses it."""
    used = [method for method in Method if method in methods]
    return [] if len(used) == len(Method) else [f"hy-for-{'-'.join(used)}"]


def _grid(form: Form, fields: Sequence[str]) -> None:
    with gr.Row(elem_classes="hy-grid"):
        for name in fields:
            with gr.Column(min_width=220, elem_classes=["hy-field", *shown_for(readers(name))]):
                form.add(name)


def readers(name: str) -> list[Method]:
    """The methods that read a field."""
    return [method for method in Method if applies(name, method)]


def relevant(values: Mapping[str, Any], methods: Sequence[Method]) -> dict[str, Any]:
    """The values with defaults for fields that no method reads, as the form hides them."""
    read = {name for name in values if any(applies(name, method) for method in methods)}
    return {name: value if name in read else DEFAULTS[name] for name, value in values.items()}


def chosen_methods(given: object) -> list[Method]:
    """The methods of the form; empty if the choice is not valid."""
    try:
        return read_methods(given)
    except InvalidInput:
        return []


def method_error(given: object) -> dict[str, str]:
    """The validation error of the choice of methods, if any."""
    try:
        read_methods(given)
    except InvalidInput as error:
        return {"method": str(error) if given else _("Choose a method, or several to compare.")}
    return {}


def make(name: str) -> Any:
    """A component that matches a field's type."""
    field = TrainConfig.model_fields[name]
    kind, label = field.annotation, field.title or name
    common: dict[str, Any] = {"label": _(label), "info": help_text(name), "elem_id": f"field-{name}"}
    if name == "reward":
        return gr.Dropdown(rewards(), value=field.default, allow_custom_value=True, **common)
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
    described = _(str(field.description))
    found = limits(field)
    words = BOUNDS.get((bool(found.low and found.high), found.above, found.below))
    if field.annotation not in (int, float) or words is None:
        return described
    return f"{described} ({_(words, low=found.low, high=found.high)})"


def rewards() -> list[tuple[str, str] | str]:
    """The choices of the reward's field."""
    return [(_(one[0]), one[1]) if isinstance(one, tuple) else one for one in REWARDS]


def ratio_classes(name: str) -> list[str]:
    """CSS classes that mark a fraction for fields.js; `hy-from-zero` marks one that may be zero."""
    zero = not any(isinstance(rule, annotated_types.Gt) for rule in TrainConfig.model_fields[name].metadata)
    return ["hy-ratio", "hy-from-zero"] if zero else ["hy-ratio"]


def title(name: str) -> str:
    """A field's label."""
    field = TrainConfig.model_fields.get(name)
    return _(OTHER_TITLES.get(name) or (field.title if field else None) or name)


def titles(names: Iterable[str]) -> str:
    """Labels of several fields, separated by commas."""
    return ", ".join(title(name) for name in names)


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Raw values in schema types: fractions are entered as text, and an emptied list gives None."""
    fields = TrainConfig.model_fields
    found = {}
    for name, value in values.items():
        kind = fields[name].annotation
        empty = value is None and kind is str
        found[name] = "" if empty else as_number(value) if kind is float else value
    return found


def plain(value: Any) -> Any:
    """A value as stored in forms, YAML and JSON."""
    return value.value if isinstance(value, Enum) else value


def check(values: Mapping[str, Any], methods: Sequence[Method]) -> dict[str, str]:
    """One sentence per invalid field, starting with its label."""
    found = launch_problems(methods, values)
    return {
        name: _("{field} {problem}.", field=title(name), problem=in_language(problem))
        for name, problem in found.items()
    }
