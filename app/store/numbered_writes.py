"""Idempotent writes: each write of an attempt takes effect once, however often its transaction is retried.

A connection may break after a transaction was committed but before the response arrives. The client cannot
tell, and retries. So the writes of an attempt have increasing numbers, and each transaction stores its number
in the run's row. A write whose number is not above the stored one was already done.
"""

from enum import Enum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.store.claims import Claim
from app.store.models import Run
from app.store.run_transitions import RUN_LEASES


class Write(Enum):
    """The state of a numbered write."""

    NEW = "new"
    DONE = "done"
    LOST = "lost"
    """The lease was lost; nothing may be written."""


def begin(claim: Claim, number: int, *, session: Session) -> Write:
    """Store the number of a write in the run's row, as the first statement of its transaction.

    The row stays locked until the transaction ends, so a retry waits for the end of the first try.
    """
    guard = RUN_LEASES.guard(claim)
    entered = session.execute(update(Run).where(guard, Run.last_write < number).values(last_write=number))
    if entered.rowcount:  # type: ignore[attr-defined]
        return Write.NEW
    return Write.LOST if session.scalar(select(Run.id).where(guard)) is None else Write.DONE
