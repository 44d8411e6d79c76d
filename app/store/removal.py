"""Remove a run: it is hidden at once, and its rows are deleted in small batches, so that locks are short."""

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import answering, clock, pair_scorings, runs, starts
from app.store.models import Answerer, Checkpoint, Contender, Generation, Metric, Run, RunEvent
from app.store.purging import Children, delete_some
from app.store.run_dependencies import DELETED, fail_dependants

ROWS = 500
"""Rows per transaction: few enough to hold a lock for only a few milliseconds."""


def remove(run_id: int, *, session: Session, now: datetime | None = None) -> list[str]:
    """Remove a run from all lists permanently. Answers and votes stay, and keep only its name.

    Runs that wait for it fail.

    `purge` deletes its other rows.

    Returns:
        Paths of its checkpoints under the artifacts' root, for the caller to delete.

    Raises:
        NotFound: for a run that does not exist.
        Refused: while the run is queued or running, while an answer is being written with it, or while it is
            the base model of other runs.
    """
    runs.locked([run_id], session=session)  # against a launch that starts from it at this moment
    run = runs.get(run_id, session=session)
    if not run.status.is_over:
        raise Refused(f"Run {run_id} is {run.status.value}; cancel it first, then delete it.")
    if answering.answering_with(run_id, session=session):
        raise Refused(f"Run {run_id} is answering on the compare page; delete it when it is done.")
    starts.refuse_while_others_start_from(run_id, session=session)
    paths = list(session.scalars(select(Checkpoint.path).where(Checkpoint.run_id == run_id)))
    pair_scorings.forget_run(run_id, session=session)
    session.execute(delete(Checkpoint).where(Checkpoint.run_id == run_id))
    session.execute(update(Contender).where(Contender.run_id == run_id).values(run_id=None))
    session.execute(update(Answerer).where(Answerer.run_id == run_id).values(run_id=None))
    session.execute(update(Run).where(Run.parent_id == run_id).values(parent_id=None))
    fail_dependants(run_id, DELETED, session=session)
    session.execute(update(Run).where(Run.depends_on_id == run_id).values(depends_on_id=None))
    session.execute(update(Run).where(Run.id == run_id).values(deleted_at=now or clock.now()))
    session.expire_all()
    return paths


def purge(*, session: Session, rows: int = ROWS) -> bool:
    """Delete some rows of removed runs; False when nothing is left to delete."""
    run_id = session.scalar(
        select(Run.id).where(Run.deleted_at.is_not(None)).limit(1).with_for_update(skip_locked=True)
    )
    if run_id is None:
        return False
    if delete_some(_CHILDREN, run_id, session=session, rows=rows):
        return True
    session.execute(delete(Run).where(Run.id == run_id).execution_options(synchronize_session=False))
    return True


_CHILDREN: Children = (
    (Generation, (Generation.id,), Generation.run_id),
    (Metric, (Metric.run_id, Metric.name, Metric.step), Metric.run_id),
    (RunEvent, (RunEvent.id,), RunEvent.run_id),
)
