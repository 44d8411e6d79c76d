"""Health check: the database and the home folder accept a write."""

import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.errors import AppError
from app.settings import get_settings
from app.store.db import write_session

SECONDS = 2.0
"""Seconds for which a result is reused, so frequent checks cause no further writes."""

_BLOCK = b"\0" * 4096


@dataclass(frozen=True, slots=True)
class Health:
    """The problems by part (`database`, `home`), as sentences; empty when all is well."""

    problems: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.problems


class _Last:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.of = ""
        self.health = Health()


_last = _Last()


def check() -> Health:
    """The present health, or a result at most SECONDS old."""
    settings = get_settings()
    with _last.lock:
        if time.monotonic() >= _last.until or _last.of != settings.sqlalchemy_url:
            found = {"database": _database(), "home": _home(settings.root)}
            _last.of = settings.sqlalchemy_url
            _last.health = Health({part: problem for part, problem in found.items() if problem})
            _last.until = time.monotonic() + SECONDS
        return _last.health


def _database() -> str:
    """Rewrite a row unchanged, which detects a full disk and a read-only database."""
    try:
        with write_session() as session:
            session.execute(text("UPDATE alembic_version SET version_num = version_num"))
    except AppError as error:
        return str(error)
    except SQLAlchemyError as error:
        return str(error.__cause__ or error).splitlines()[0]
    return ""


def _home(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_BLOCK)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"The home folder takes no file: {error.strerror or error}."
    return ""
