"""Writes of an attempt that are done once, however often their transaction is tried.

A connection may break after a transaction was committed and before the answer arrives; who sent it cannot
know, and tries again. So every write of an attempt has a number, higher than the one before, and its
transaction keeps it in the run's row. A write whose number is there already was done.
"""

from enum import Enum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.store.enums import RunStatus
from app.store.models import Run


class Write(Enum):
    """What becomes of a numbered write."""

    NEW = "new"
    DONE = "done"
    LOST = "lost"
    """The lease is another's; nothing may be written."""


def begin(run_id: int, lease_id: str, number: int, *, session: Session) -> Write:
    """Enter the number of a write in the run's row, as the first thing of its transaction.

    The row is locked until the transaction ends, so a second try waits for the first one's end.
    """
    held = (Run.id == run_id, Run.lease_id == lease_id, Run.status == RunStatus.RUNNING)
    entered = session.execute(update(Run).where(*held, Run.last_write < number).values(last_write=number))
    if entered.rowcount:  # type: ignore[attr-defined]
        return Write.NEW
    return Write.LOST if session.scalar(select(Run.id).where(*held)) is None else Write.DONE
