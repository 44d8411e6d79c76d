"""Health, workers, presets, and who asks."""

from typing import Any

from fastapi import APIRouter
from sqlalchemy import text

from app.dispatch import QUEUES
from app.presets import PRESETS
from app.rest.caller import Caller
from app.rest.schemas.runs import PresetShown
from app.rest.schemas.system import CallerShown, HealthShown, WorkerShown
from app.store import workers
from app.store.db import read_session
from app.views import worker_view

router = APIRouter(tags=["system"])


@router.get("/health", response_model=HealthShown)
def health() -> dict[str, Any]:
    """Say whether the database answers and which queues have workers that take messages."""
    with read_session() as session:
        session.execute(text("SELECT 1"))
        counts = {queue: len(workers.consuming(session=session, queue=queue)) for queue in QUEUES}
    status = "ok" if all(counts.values()) else "no_worker"
    return {"status": status, "database": "ok", "queues": counts}


@router.get("/me", response_model=CallerShown)
def me(user: Caller) -> dict[str, str]:
    """Say who makes this call."""
    return {"user": user}


@router.get("/workers", response_model=list[WorkerShown])
def list_workers() -> list[dict[str, Any]]:
    """List the workers that were seen lately."""
    with read_session() as session:
        found = workers.present(session=session)
    return [worker_view(worker) for worker in found]


@router.get("/presets", response_model=list[PresetShown])
def list_presets() -> list[dict[str, Any]]:
    """List the presets of the launch page; a launch may start from one."""
    return [
        {"name": name, "title": preset.title, "description": preset.description, "values": preset.values}
        for name, preset in PRESETS.items()
    ]
