"""The tasks: thin, taking an id."""

from app.dispatch import ANSWER_TASK, TRAIN_TASK
from worker.answering import answer_comparison
from worker.celery_app import app, worker_name
from worker.training import train_run


@app.task(name=TRAIN_TASK)  # type: ignore[untyped-decorator]
def train(run_id: int) -> None:
    """Train a run, if it still waits."""
    train_run(run_id, worker=worker_name())


@app.task(name=ANSWER_TASK)  # type: ignore[untyped-decorator]
def answer(comparison_id: int) -> None:
    """Write the answers of a comparison, if they still wait."""
    answer_comparison(comparison_id)
