"""Leases: a worker claims a row, renews its lease while it works, and releases the row or loses it.

Runs and comparisons share these operations. A claim is one guarded UPDATE, so two workers never hold the
same row. Everything that a worker writes about a row is guarded by its lease, so a worker that lost the
row changes nothing. Times are the database's.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import uuid4

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.store import clock
from app.store.claims import Claim, Leased

ACKNOWLEDGED_SECONDS = 600.0
"""How long a worker that acknowledged a cancel may take to stop: it writes and stores a last checkpoint."""

Row = TypeVar("Row", bound=Leased)


def _no_values(_worker: str) -> Mapping[str, Any]:
    """Tables whose claimed rows get no values of their own."""
    return {}


def _log_nothing(_row: Leased, _session: Session) -> None:
    """Tables without a log."""


@dataclass(frozen=True, slots=True, eq=False)
class Leases(Generic[Row]):
    """The leases of one table.

    Attributes:
        waiting: holds for rows that may be claimed.
        held: holds for rows that a worker holds.
        deadline: the column that says by when a cancelled row has to be released.
        free: the values of a row that nobody holds.
        on_claim: from a worker's name to the table's own values of a claimed row.
        log_claim: records a claim in the row's log.
    """

    model: type[Row]
    waiting: ColumnElement[bool]
    held: ColumnElement[bool]
    deadline: InstrumentedAttribute[datetime | None]
    free: Mapping[str, Any]
    on_claim: Callable[[str], Mapping[str, Any]] = _no_values
    log_claim: Callable[[Row, Session], None] = _log_nothing

    # --- claim, renew, release -----------------------------------------------------------------

    def claim(
        self, row_id: int, *, session: Session, worker: str, lease_seconds: float, lease: str | None = None
    ) -> Row | None:
        """Claim a waiting row; None when it is held or does not wait any more.

        Args:
            lease: the id of the new lease; one is made if not given.
        """
        claimed = session.execute(
            update(self.model)
            .where(self.model.id == row_id, self.waiting)
            .values(
                lease_id=lease or str(uuid4()),
                lease_until=clock.after(lease_seconds),
                worker=worker,
                attempt=self.model.attempt + 1,
                **self.on_claim(worker),
            )
            .execution_options(synchronize_session=False)
        )
        if not claimed.rowcount:  # type: ignore[attr-defined]
            return None
        session.expire_all()
        row = session.get_one(self.model, row_id)
        self.log_claim(row, session)
        return row

    def claim_next(
        self, *, session: Session, worker: str, lease_seconds: float, lease: str | None = None
    ) -> Row | None:
        """Claim the row that has waited longest and that nobody else is claiming; None when none waits.

        Args:
            lease: as for `claim`. If it holds a row already, the claim was made and its answer got lost.
        """
        if lease is not None:
            made = select(self.model).where(self.held, self.model.lease_id == lease)
            if (row := session.scalar(made)) is not None:
                return row
        first = select(self.model.id).where(self.waiting).order_by(self.model.id).limit(1)
        found = session.scalar(first.with_for_update(skip_locked=True))
        if found is None:
            return None
        return self.claim(found, session=session, worker=worker, lease_seconds=lease_seconds, lease=lease)

    def guard(self, claim: Claim) -> ColumnElement[bool]:
        """Holds for the claimed row for as long as the claim does."""
        return (self.model.id == claim.id) & (self.model.lease_id == claim.lease) & self.held

    def write(self, claim: Claim, /, *, session: Session, **values: Any) -> bool:
        """Set columns of a claimed row; False when the lease was lost."""
        written = session.execute(update(self.model).where(self.guard(claim)).values(**values))
        return bool(written.rowcount)  # type: ignore[attr-defined]

    def renew(self, claim: Claim, *, session: Session, lease_seconds: float) -> bool:
        """Extend a lease; False when it was lost and the worker must stop."""
        return self.write(claim, session=session, lease_until=clock.after(lease_seconds))

    def release(self, claim: Claim, *, session: Session, **values: Any) -> bool:
        """Give a row back before its work is done, for another worker; the attempt does not count."""
        attempt = self.model.attempt - 1
        return self.write(claim, session=session, attempt=attempt, sent_at=None, **self.free, **values)

    # --- leases whose worker died --------------------------------------------------------------

    def all_held(self, *, session: Session) -> dict[str, tuple[str | None, datetime]]:
        """Every lease, with its worker and its end."""
        query = select(self.model.lease_id, self.model.worker, self.model.lease_until).where(
            self.held, self.model.lease_id.is_not(None), self.model.lease_until.is_not(None)
        )
        return {lease: (worker, until) for lease, worker, until in session.execute(query) if lease and until}

    def expire(self, leases: Collection[str], *, session: Session) -> None:
        """End the leases of workers known to be dead; `reap` does the rest."""
        session.execute(
            update(self.model)
            .where(self.held, self.model.lease_id.in_(leases))
            .values(lease_until=clock.after(-1))
        )

    def reap(
        self, leases: Collection[str], *, session: Session, after: Callable[[Row], Mapping[str, Any]]
    ) -> None:
        """Free the rows whose lease is over.

        Args:
            leases: those that the caller has seen unrenewed; of them, those that are over are freed.
            after: from a row to the values that it gets beside those of a free row.
        """
        over = self.held & (self.model.lease_until < clock.now())
        lost = session.scalars(
            select(self.model)
            .where(over, self.model.lease_id.in_(leases))
            .with_for_update(of=self.model, skip_locked=True)
        ).all()
        for row in lost:
            guard = over & (self.model.id == row.id) & (self.model.lease_id == row.lease_id)
            freed = update(self.model).where(guard).values(**self.free, **after(row))
            session.execute(freed.execution_options(synchronize_session=False))

    # --- messages that got lost ----------------------------------------------------------------

    def mark_sent(self, row_id: int, *, session: Session) -> None:
        """Record that the broker took the row's message."""
        session.execute(update(self.model).where(self.model.id == row_id).values(sent_at=clock.now()))

    def take_undelivered(self, *, session: Session, resend_seconds: float, limit: int = 50) -> Sequence[int]:
        """Mark waiting rows as sent whose message is older than `resend_seconds` or was never sent.

        Returns:
            Their ids, for the caller to send after the commit; `unsend` is for those that could not be sent.
        """
        first = select(self.model.id).where(*self._undelivered(resend_seconds)).order_by(self.model.id)
        found = session.scalars(first.limit(limit).with_for_update(skip_locked=True)).all()
        if found:
            session.execute(update(self.model).where(self.model.id.in_(found)).values(sent_at=clock.now()))
        return found

    def is_undelivered(self, *, session: Session, resend_seconds: float) -> bool:
        """Whether `take_undelivered` would find a row; takes no lock."""
        query = select(self.model.id).where(*self._undelivered(resend_seconds)).limit(1)
        return session.scalar(query) is not None

    def unsend(self, row_ids: Sequence[int], *, session: Session) -> None:
        """Take `mark_sent` back: the broker did not take these messages."""
        session.execute(update(self.model).where(self.model.id.in_(row_ids)).values(sent_at=None))

    def _undelivered(self, resend_seconds: float) -> list[ColumnElement[bool]]:
        stale = self.model.sent_at < clock.after(-resend_seconds)
        return [self.waiting, or_(self.model.sent_at.is_(None), stale)]

    # --- cancels -------------------------------------------------------------------------------

    def acknowledge_cancel(self, claim: Claim, *, session: Session) -> None:
        """Record that the worker knows of a cancel and is about to stop."""
        deadline = {self.deadline.key: clock.after(ACKNOWLEDGED_SECONDS)}
        session.execute(
            update(self.model).where(self.guard(claim), self.deadline.is_not(None)).values(**deadline)
        )

    def overdue_cancels(self, worker: str, *, session: Session) -> list[Claim]:
        """What a worker still holds although it should have stopped by now."""
        late = select(self.model.id, self.model.lease_id, self.model.attempt).where(
            self.held, self.model.worker == worker, self.deadline < clock.now()
        )
        return [Claim(row_id, str(lease), attempt) for row_id, lease, attempt in session.execute(late)]
