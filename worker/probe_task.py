"""The Celery task by which a worker checks that messages reach it."""

from app.dispatch import PROBE_TASK
from worker.celery_app import app
from worker.consuming import consumption


@app.task(name=PROBE_TASK)  # type: ignore[untyped-decorator]
def probe() -> None:
    """Record that messages arrive."""
    consumption.taken()
