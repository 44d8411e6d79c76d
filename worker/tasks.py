"""The Celery tasks of runs and answers: a message wakes a worker, which claims what has waited longest.

Work therefore starts in the order in which it was queued, even after a run was requeued. A worker that wakes
up works until nothing waits, so a lost message delays nothing for long.
"""

from app.dispatch import ANSWER_TASK, GENERATE_QUEUE, TRAIN_QUEUE, TRAIN_TASK
from worker.answering import answer_next
from worker.celery_app import app, name, queues
from worker.consuming import consumption
from worker.pair_scoring import score_pairs_next
from worker.scoring import score_next
from worker.shutdown import shutting_down
from worker.token_scoring import score_tokens_next
from worker.training import train_next


@app.task(name=TRAIN_TASK)  # type: ignore[untyped-decorator]
def train(hint: int) -> None:
    """Wake up for a run; `hint` is the id of one that waited when the message was sent."""
    work()


@app.task(name=ANSWER_TASK)  # type: ignore[untyped-decorator]
def answer(hint: int) -> None:
    """Wake up for a comparison; `hint` is the id of one that waited when the message was sent."""
    work()


def work() -> None:
    """Answer, score and train until nothing waits in this worker's queues, or it is told to stop."""
    mine = queues().split(",")
    with consumption.working() as may_work:
        while may_work and not shutting_down.is_set():
            answered = GENERATE_QUEUE in mine and answer_next(worker=name)
            explained = (
                GENERATE_QUEUE in mine and not shutting_down.is_set() and score_tokens_next(worker=name)
            )
            scored = GENERATE_QUEUE in mine and not shutting_down.is_set() and score_next(worker=name)
            scored |= GENERATE_QUEUE in mine and not shutting_down.is_set() and score_pairs_next(worker=name)
            trained = TRAIN_QUEUE in mine and not shutting_down.is_set() and train_next(worker=name)
            if not (answered or explained or scored or trained):
                return
