"""Configuration values as written on a command line: ``beta=0.05``. No torch here."""

from typing import Any

import yaml

from hypo_engine.errors import ConfigError


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Turn ``["beta=0.05", "max_steps=20"]`` into raw values; each value is read as YAML.

    Raises:
        ConfigError: for an entry without ``=`` or with a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{assignment!r} is not of the form NAME=VALUE, such as beta=0.05.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}: the value {text!r} cannot be read.") from error
        values[name.strip()] = as_number(value)
    return values


def as_number(value: Any) -> Any:
    """Turn a text such as ``1e-4``, which YAML 1.1 does not read as a number, into one."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
