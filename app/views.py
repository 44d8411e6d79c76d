"""What the command line and the API say about rows: plain values, ready for JSON."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.store import runs
from app.store.models import Dataset, Run


def dataset_view(dataset: Dataset) -> dict[str, Any]:
    """A dataset's facts."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "version": dataset.version,
        "rows": dataset.rows,
        "left_out_count": dataset.left_out_count,
        "held_out": dataset.held_out,
        "format": dataset.format,
        "source": dataset.source,
        "sha256": dataset.sha256,
        "created_at": _time(dataset.created_at),
    }


def run_view(run: Run, *, session: Session) -> dict[str, Any]:
    """A run's facts: where it stands, its last metrics and its error, if any."""
    return {
        "id": run.id,
        "name": run.name,
        "method": run.method,
        "status": run.status.value,
        "step": run.step,
        "total_steps": run.total_steps,
        "phase": run.phase,
        "place_in_queue": runs.place_in_queue(run, session=session),
        "dataset": {"id": run.dataset_id, "name": run.dataset.name, "version": run.dataset.version},
        "model": run.base_model,
        "seed": run.seed,
        "twin_group": run.twin_group,
        "attempt": run.attempt,
        "error": run.error,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "metrics": runs.final_metrics(run.id, session=session),
        "config": run.config,
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
