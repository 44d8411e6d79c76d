"""Writes of an attempt that are done once, however often their transaction is tried.

A connection may break after a transaction was committed and before the answer arrives. The sender cannot
know, and tries again. So every write of an attempt has a number, higher than the one before, and its
transaction enters the number in the run's row. A write whose number is there already was done.
"""

from enum import Enum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.store.claims import Claim
from app.store.models import Run
from app.store.run_transitions import RUN_LEASES


class Write(Enum):
    """Whether a numbered write is still to be done."""

    NEW = "new"
    DONE = "done"
    LOST = "lost"
    """Another worker holds the run; nothing may be written."""


def begin(claim: Claim, number: int, *, session: Session) -> Write:
    """Enter the number of a write in the run's row, as the first statement of its transaction.

    The row is locked until the transaction ends, so a second try waits for the end of the first.
    """
    guard = RUN_LEASES.guard(claim)
    entered = session.execute(update(Run).where(guard, Run.last_write < number).values(last_write=number))
    if entered.rowcount:  # type: ignore[attr-defined]
        return Write.NEW
    return Write.LOST if session.scalar(select(Run.id).where(guard)) is None else Write.DONE
