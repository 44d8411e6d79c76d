"""`running.json`: what the app that runs in a home tells the other processes of the machine about itself."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """The app of a home: its supervisor's process id, its addresses, and the process ids of its children."""

    pid: int
    url: str = ""
    broker_url: str | None = None
    children: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def _of(cls, facts: Mapping[str, Any]) -> Self:
        known = {name: facts[name] for name in cls.__slots__ if name in facts}
        return cls(**{**known, "pid": int(facts["pid"])})

    @property
    def alive(self) -> bool:
        """Whether the supervisor lives; one that was killed leaves its file behind."""
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def write(self, settings: Settings) -> None:
        """Replace the file, readable for its owner only.

        Raises:
            OSError: it cannot be written, for example because the disk is full.
        """
        path = _path(settings)
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)
        partial.replace(path)


def last_running(settings: Settings) -> Running | None:
    """The app that was started last in this home; it may have been killed since."""
    try:
        return Running._of(json.loads(_path(settings).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_running(settings: Settings) -> Running | None:
    """The app that runs in this home."""
    found = last_running(settings)
    return found if found is not None and found.alive else None


def forget_running(settings: Settings) -> None:
    """Delete the file when the app stops."""
    _path(settings).unlink(missing_ok=True)


def _path(settings: Settings) -> Path:
    return settings.root / "running.json"
