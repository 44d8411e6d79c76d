"""The tasks. A message says that something waits, and names it; what is taken is what waits longest.

So the order in which people queued is the order in which things start, also after one went back to the
queue; and whoever hears one message works until nothing waits, so none that was lost or dropped is missed.
"""

from app.dispatch import ANSWER_TASK, GENERATE_QUEUE, PROBE_TASK, TRAIN_QUEUE, TRAIN_TASK
from worker.answering import answer_next
from worker.celery_app import app, name, queues
from worker.consuming import consumption
from worker.going import going_away
from worker.training import train_next


@app.task(name=TRAIN_TASK)  # type: ignore[untyped-decorator]
def train(run_id: int) -> None:
    """Hear that a run waits."""
    work()


@app.task(name=ANSWER_TASK)  # type: ignore[untyped-decorator]
def answer(comparison_id: int) -> None:
    """Hear that a comparison waits for its answers."""
    work()


@app.task(name=PROBE_TASK)  # type: ignore[untyped-decorator]
def probe() -> None:
    """Hear that messages arrive."""
    consumption.taken()


def work() -> None:
    """Answer and train until nothing waits in this worker's queues, or it is asked to go."""
    mine = queues().split(",")
    with consumption.working() as may_work:
        while may_work and not going_away.is_set():
            answered = GENERATE_QUEUE in mine and answer_next(worker=name)
            trained = TRAIN_QUEUE in mine and not going_away.is_set() and train_next(worker=name)
            if not (answered or trained):
                return
