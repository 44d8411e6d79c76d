"""The files of a base model that is another run's model, fetched from the artifact store."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from app import artifacts
from app.store import starts
from app.store.db import read_session
from hypo_engine.model_spec import PREFIX
from hypo_engine.models.source import ModelSource
from worker.reporter import StoreReporter

T = TypeVar("T")


class Read(Protocol):
    """Runs one read transaction."""

    def __call__(self, read: Callable[[Session], T]) -> T: ...


def read_once(read: Callable[[Session], T]) -> T:
    """One read transaction, which is not repeated."""
    with read_session() as session:
        return read(session)


def fetch_for_training(name: str, folder: Path, reporter: StoreReporter) -> ModelSource | None:
    """As :func:`fetch_run_model`, for a run in progress.

    Raises:
        Interrupted: the run should end.
    """
    return fetch_run_model(name, folder, read=reporter.read, fetch=reporter.fetch_weights)


def fetch_run_model(
    name: str,
    folder: Path,
    *,
    read: Read = read_once,
    fetch: Callable[[str, Path], Path] = artifacts.fetch_weights,
) -> ModelSource | None:
    """Fetch the checkpoints behind a base model's name; None for a name that is no run's.

    Args:
        folder: A folder for them, which may not exist yet. What it already holds is not fetched again.
        fetch: Copies the weights of a checkpoint to a new folder.

    Raises:
        NotFound: a run was deleted.
        Refused: a run cannot be started from, or its files are missing.
    """
    if not name.startswith(PREFIX):
        return None
    found = read(lambda session: starts.chain(name, session=session))
    place, adapters = artifacts.fetch_chain(found, folder, fetch)
    return ModelSource(place, tuple(adapters))
