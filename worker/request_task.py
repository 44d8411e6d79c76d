"""The Celery task of requests to endpoints. It loads no torch, so its worker is small and starts at once."""

from app.dispatch import REQUEST_TASK
from worker.celery_app import app, name
from worker.consuming import consumption
from worker.endpoint_answers import request_next
from worker.judging import judge_next
from worker.shutdown import shutting_down


@app.task(name=REQUEST_TASK)  # type: ignore[untyped-decorator]
def request(hint: int) -> None:
    """Wake up for requests, and send them until none waits or the worker is told to stop."""
    with consumption.working() as may_work:
        while may_work and not shutting_down.is_set():
            answered = request_next(worker=name)
            judged = not shutting_down.is_set() and judge_next(worker=name)
            if not (answered or judged):
                return
