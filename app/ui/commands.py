"""Three forms of the same run: raw values, YAML and the launch command."""

import shlex
from collections.abc import Mapping
from typing import Any, Final

import yaml

from app import sweeps
from app.run_yaml import DEFAULTS
from app.sweeps import Sweep

_NOT_SET: Final = ("method", "model_name_or_path")


def changed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from their defaults, in the schema's order."""
    return {name: values[name] for name in DEFAULTS if name in values and values[name] != DEFAULTS[name]}


def launch_command(
    method: str,
    dataset: str,
    values: Mapping[str, Any],
    *,
    name: str = "",
    judge: str = "",
    sweep: Sweep | None = None,
    trials: int | None = None,
) -> str:
    """The command that launches a run with these values; defaults are omitted."""
    words = ["hypo", "runs", "launch", "--method", method, "--dataset", dataset or "NAME"]
    words += ["--model", str(values.get("model_name_or_path") or DEFAULTS["model_name_or_path"])]
    for field, value in changed(values).items():
        if field not in _NOT_SET and field not in (sweep or {}):
            words += ["--set", f"{field}={_plain(value)}"]
    for text in sweeps.written(sweep or {}):
        words += ["--sweep", text]
    if sweep and trials:
        words += ["--trials", str(trials)]
    if name.strip():
        words += ["--name", name.strip()]
    if judge:
        words += ["--judge", judge]
    return _wrapped([shlex.quote(word) for word in words])


def to_yaml(values: Mapping[str, Any], *, method: str, dataset: str = "", name: str = "") -> str:
    """The launch as YAML: name and dataset, then every field of the configuration."""
    head = {key: value for key, value in (("name", name.strip()), ("dataset", dataset)) if value}
    body = {field: values[field] for field in DEFAULTS if field in values}
    return yaml.safe_dump({**head, **body, "method": method}, sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _wrapped(words: list[str]) -> str:
    """The command on one line, or with one option per line when it is long."""
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
