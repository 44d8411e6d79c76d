"""What a question's answers wait for, read from claims, leases and workers."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.store import workers
from app.store.answering import ANSWER_LEASES
from app.store.generations import unfinished_here
from app.store.leases import Leases
from app.store.models import Comparison, Generation, Run, Worker
from app.store.pair_scorings import PAIR_LEASES
from app.store.run_transitions import RUN_LEASES
from app.store.scorings import SCORING_LEASES
from app.store.verdicts import VERDICT_LEASES


class Cause(StrEnum):
    """Why an answer is not being written."""

    LOADING = "loading"
    """Its worker loads the model."""
    CLAIMED = "claimed"
    """Its worker writes other answers of the question, or is about to begin."""
    QUEUE = "queue"
    """Other questions come first."""
    LOADING_OTHER = "loading_other"
    """It is next, and the worker loads a model for something else."""
    TRAINING = "training"
    """It is next, and the worker trains a run."""
    BUSY = "busy"
    """It is next, and the worker does something else."""
    NO_WORKER = "no_worker"
    """No worker takes answers."""
    MESSAGE = "message"
    """It is next, and a worker is free: its message is on the way."""


@dataclass(frozen=True, slots=True)
class AnswerWait:
    """What the queued answers of a question wait for.

    Attributes:
        before: number of questions that are answered before it.
        run_id: the run that the worker trains first.
    """

    cause: Cause
    before: int = 0
    run_id: int | None = None


def of_comparison(comparison: Comparison, *, session: Session, queue: str) -> AnswerWait:
    """What the queued answers of a chat's question wait for. Answers of endpoints are not considered.

    Args:
        queue: the queue of answers.
    """
    present = workers.consuming(session=session, queue=queue)
    if comparison.lease_id is not None:
        own = next((worker for worker in present if worker.id == comparison.worker), None)
        return AnswerWait(Cause.LOADING if own is not None and own.loading else Cause.CLAIMED)
    if not present:
        return AnswerWait(Cause.NO_WORKER)
    if before := _before(comparison.id, session):
        return AnswerWait(Cause.QUEUE, before)
    return _next(present, session)


def _before(comparison_id: int, session: Session) -> int:
    """The number of chats' questions that are being answered, or have waited longer."""
    query = (
        select(func.count())
        .select_from(Comparison)
        .where(
            Comparison.id.in_(select(Generation.comparison_id).where(unfinished_here())),
            Comparison.campaign_id.is_(None),
            Comparison.id != comparison_id,
            or_(Comparison.lease_id.is_not(None), Comparison.id < comparison_id),
        )
    )
    return session.scalar(query) or 0


def _next(present: Iterable[Worker], session: Session) -> AnswerWait:
    """What keeps the workers from the question that is next; they answer no other question."""
    busy = {worker for leases in _OTHER_WORK for worker in _holders(leases, session)}
    training = {
        worker: run_id
        for run_id, worker in session.execute(select(Run.id, Run.worker).where(RUN_LEASES.held))
    }
    found = []
    for worker in present:
        if worker.loading:
            found.append(AnswerWait(Cause.LOADING_OTHER))
        elif worker.id in training:
            found.append(AnswerWait(Cause.TRAINING, run_id=training[worker.id]))
        elif worker.id in busy:
            found.append(AnswerWait(Cause.BUSY))
        else:
            return AnswerWait(Cause.MESSAGE)
    return found[0]


_OTHER_WORK: tuple[Leases[Any], ...] = (ANSWER_LEASES, VERDICT_LEASES, PAIR_LEASES, SCORING_LEASES)
"""What a generate worker does besides answering chats; of answers, those of campaigns remain."""


def _holders(leases: Leases[Any], session: Session) -> Iterable[str]:
    """The workers that hold a lease of one table."""
    found = session.scalars(select(leases.model.worker).where(leases.held).distinct())
    return [worker for worker in found if worker is not None]
