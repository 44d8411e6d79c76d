"""`running.json`: how other processes on this machine find the app that runs in a home."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """The running app of a home: its addresses and the process ids of the supervisor and the children."""

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
        """Whether the supervisor is alive. A killed supervisor leaves a stale file."""
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def write(self, settings: Settings) -> None:
        """Replace the file atomically, readable only by its owner.

        Raises:
            OSError: the file cannot be written, for example because the disk is full.
        """
        path = _path(settings)
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)
        partial.replace(path)


def last_running(settings: Settings) -> Running | None:
    """The app last started in this home, which may have been killed since."""
    try:
        return Running._of(json.loads(_path(settings).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_running(settings: Settings) -> Running | None:
    """The app that runs in this home; None if there is none."""
    found = last_running(settings)
    return found if found is not None and found.alive else None


def forget_running(settings: Settings) -> None:
    """Delete the file when the app stops."""
    _path(settings).unlink(missing_ok=True)


def _path(settings: Settings) -> Path:
    return settings.root / "running.json"
