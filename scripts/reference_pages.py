"""Write docs/settings.md and docs/configuration.md from the code, in `make docs`. A test compares them."""

import types
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import Settings
from hypo_engine.config import TrainConfig

DOCS = Path(__file__).resolve().parent.parent / "docs"

GROUPS = {
    "front": "On the form's front",
    "loss": "Loss",
    "ppo": "PPO",
    "sampling": "Sampling",
    "lengths": "Lengths",
    "optimiser": "Optimiser",
    "adapter": "Adapter",
    "memory": "Memory and speed",
    "watching": "Watching and saving",
}


def settings_page() -> str:
    """The page of every environment variable of the app."""
    lines = [
        "# Settings",
        "",
        "Every process reads these environment variables. The defaults suit a laptop, where nothing",
        "needs to be set. `compose.yaml` sets what a server needs.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
    ]
    lines += [
        f"| `HYPO_{name.upper()}` | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """The page of every field of a run's configuration, in the groups of the launch form."""
    lines = [
        "# Configuration of a run",
        "",
        "The launch form, YAML files, `hypo runs launch --set NAME=VALUE` and the API share one schema.",
        "Names follow TRL where TRL has one.",
    ]
    for group, title in GROUPS.items():
        lines += ["", f"## {title}", "", "| name | default | allowed | what it is |", "|---|---|---|---|"]
        lines += [
            f"| `{name}` | {_default(field)} | {_allowed(field)} | {_cell(field.description or '')} |"
            for name, field in TrainConfig.model_fields.items()
            if _group(field) == group
        ]
    return "\n".join(lines) + "\n"


def _group(field: FieldInfo) -> str:
    extra: Any = field.json_schema_extra
    return str(extra["group"])


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        value = str(value).lower()
    return "empty" if value == "" else f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0]
    if issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if kind is bool:
        return "`true`, `false`"
    if kind is str:
        return "text"
    bounds = [
        f"{sign} {value:,}"
        for rule in field.metadata
        for attribute, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if (value := getattr(rule, attribute, None)) is not None
    ]
    return ", ".join(bounds) or "number"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    (DOCS / "settings.md").write_text(settings_page(), encoding="utf-8")
    (DOCS / "configuration.md").write_text(configuration_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
