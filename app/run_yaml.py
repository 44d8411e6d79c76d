"""A run as YAML text, as the launch page and the command line write it and people edit it."""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from app.errors import InvalidInput
from app.launch_methods import read_methods
from hypo_engine.assignments import as_number
from hypo_engine.config import Method, TrainConfig

DEFAULTS: Final = TrainConfig().model_dump(mode="json")
LAUNCH_KEYS: Final = ("dataset", "method", "name")
"""Keys of a launch besides the options of a TrainConfig. `method` may name several here."""


@dataclass(frozen=True, slots=True)
class RunYaml:
    """The contents of a YAML text; None for each missing key."""

    method: list[Method] | None = None
    dataset: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    """Raw options of a TrainConfig, including the base model and excluding `method`."""
    name: str | None = None

    @property
    def model(self) -> str | None:
        """The base model."""
        return self.values.get("model_name_or_path")


def read_run_yaml(text: str) -> RunYaml:
    """Parse a run from a YAML text. The options' bounds are checked at the launch.

    Raises:
        InvalidInput: for a text that is not a YAML mapping, for unknown names, and for a method that cannot
            be launched.
    """
    try:
        given = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark is not None else ""
        raise InvalidInput(
            f"This is not YAML{where}; write lines such as `beta: 0.1`.", field="yaml"
        ) from error
    if not isinstance(given, dict) or not given:
        raise InvalidInput("The YAML holds no settings; write lines such as `beta: 0.1`.", field="yaml")
    unknown = [str(name)[:80] for name in given if name not in DEFAULTS and name not in LAUNCH_KEYS]
    if unknown:
        raise InvalidInput(f"There is no setting named {', '.join(unknown[:5])}.", field="yaml")
    return RunYaml(
        method=None if given.get("method") is None else read_methods(given["method"]),
        dataset=_text("dataset", given.get("dataset")),
        values={name: _option(name, value) for name, value in given.items() if name not in LAUNCH_KEYS},
        name=_text("name", given.get("name")),
    )


def _text(name: str, given: Any) -> str | None:
    """A text value. A number (`dataset: 3`) is converted to text."""
    if given is not None and (isinstance(given, bool) or not isinstance(given, str | int | float)):
        raise InvalidInput(f"{name} must be text, not {str(given)[:80]!r}.", field=name)
    return None if given is None else str(given)


def _option(name: str, value: Any) -> Any:
    """Convert a numeric option's value to a number. Text options are kept: a model may be named `1e5`."""
    default = DEFAULTS[name]
    numeric = isinstance(default, int | float) and not isinstance(default, bool)
    return as_number(value) if numeric else value
