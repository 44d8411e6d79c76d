"""Deleting a run: rows, artifacts and local folders."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from app import artifacts
from app.deletion import delete_run
from app.errors import NotFound, Refused
from app.settings import Settings
from app.store import runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from tests.app import arena


def _made(settings: Settings, status: RunStatus = RunStatus.FINISHED) -> tuple[int, list[Path]]:
    with write_session() as session:
        run = arena.add_run(session, steps=(5, 10), status=status)
    folders = [
        *(Path(settings.artifacts) / f"runs/{run.id}/{step}" for step in (5, 10)),
        settings.work_dir / f"run-{run.id}",
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "file").write_text("x", encoding="utf-8")
    return run.id, folders


def test_nothing_of_a_deleted_run_is_left(engine: Engine, settings: Settings) -> None:
    other, kept = _made(settings)
    run_id, folders = _made(settings)
    delete_run(run_id)
    assert not any(folder.exists() for folder in folders)
    assert all(folder.exists() for folder in kept)
    with read_session() as session:
        assert [run.id for run in runs.find(session=session)] == [other]
    with pytest.raises(NotFound):
        delete_run(run_id)


def test_a_live_run_keeps_its_files(engine: Engine, settings: Settings) -> None:
    run_id, folders = _made(settings, RunStatus.RUNNING)
    with pytest.raises(Refused, match="cancel it first"):
        delete_run(run_id)
    assert all(folder.exists() for folder in folders)


def test_files_that_stay_are_named_and_the_rest_goes(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, folders = _made(settings)
    delete = artifacts.delete_folder

    def fails_once(key: str) -> None:
        if key.endswith("/5"):
            raise PermissionError("not allowed")
        delete(key)

    monkeypatch.setattr(artifacts, "delete_folder", fails_once)
    with pytest.raises(Refused, match=f"runs/{run_id}/5"):
        delete_run(run_id)
    assert [folder.exists() for folder in folders] == [True, False, False]
