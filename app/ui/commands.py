"""The same run in three ways: raw values, YAML, and the command that launches it."""

import shlex
from collections.abc import Mapping
from typing import Any, Final

import yaml

from app.errors import InvalidInput
from hypo_engine.config import TrainConfig

DEFAULTS: Final = TrainConfig().model_dump(mode="json")
EXTRA_KEYS: Final = ("dataset", "method", "name")
"""What a launch has besides a TrainConfig; YAML may carry it too. `method` may be twins there."""

_NOT_SET: Final = ("method", "model_name_or_path")


def changed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from their defaults, in the schema's order."""
    return {name: values[name] for name in DEFAULTS if name in values and values[name] != DEFAULTS[name]}


def launch_command(method: str, dataset: str, values: Mapping[str, Any], *, name: str = "") -> str:
    """The command that launches what the values describe; values at their default are not repeated."""
    words = ["hypo", "runs", "launch", "--method", method, "--dataset", dataset or "NAME"]
    words += ["--model", str(values.get("model_name_or_path") or DEFAULTS["model_name_or_path"])]
    for field, value in changed(values).items():
        if field not in _NOT_SET:
            words += ["--set", f"{field}={_plain(value)}"]
    if name.strip():
        words += ["--name", name.strip()]
    return _wrapped([shlex.quote(word) for word in words])


def to_yaml(values: Mapping[str, Any], *, method: str, dataset: str = "", name: str = "") -> str:
    """The launch as YAML: what it is, then every field of the configuration."""
    head = {key: value for key, value in (("name", name.strip()), ("dataset", dataset)) if value}
    body = {field: values[field] for field in DEFAULTS if field in values}
    return yaml.safe_dump({**head, **body, "method": method}, sort_keys=False, allow_unicode=True)


def from_yaml(text: str) -> dict[str, Any]:
    """Raw values of a YAML text.

    Raises:
        InvalidInput: for a text that is not YAML, no list of names and values, or names that nobody knows.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark is not None else ""
        raise InvalidInput(
            f"This is not YAML{where}; paste lines such as `beta: 0.1`.", field="yaml"
        ) from error
    if not isinstance(values, dict) or not values:
        raise InvalidInput("The YAML holds no settings; paste lines such as `beta: 0.1`.", field="yaml")
    unknown = [str(name) for name in values if name not in DEFAULTS and name not in EXTRA_KEYS]
    if unknown:
        raise InvalidInput(f"There is no setting named {', '.join(unknown[:5])}.", field="yaml")
    return {str(name): _number(value) for name, value in values.items()}


def _number(value: Any) -> Any:
    """YAML 1.1 reads `1e-4` as text; people mean the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wrapped(words: list[str]) -> str:
    """Options on lines of their own once the command is long."""
    flat = " ".join(words)
    if len(flat) <= 90:
        return flat
    lines, current = [], words[:3]
    for word in words[3:]:
        if word.startswith("--"):
            lines.append(" ".join(current))
            current = [f"  {word}"]
        else:
            current.append(word)
    return " \\\n".join([*lines, " ".join(current)])
