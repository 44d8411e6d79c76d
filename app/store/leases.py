"""Leases: a worker claims a row, renews its lease while it works, and releases the row or loses it.

Runs and comparisons share these operations. A claim is one guarded UPDATE, so two workers never hold the
same row. Every write by a worker is guarded by its lease, so a worker that lost the row changes nothing.
All times come from the database's clock.
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
"""Time to stop for a worker that acknowledged a cancel: it writes and stores a last checkpoint."""

Row = TypeVar("Row", bound=Leased)


def _no_values(_worker: str) -> Mapping[str, Any]:
    """Default `on_claim`: no table-specific values."""
    return {}


def _log_nothing(_row: Leased, _session: Session) -> None:
    """Default `log_claim`: a no-op, for tables without a log."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Leases(Generic[Row]):
    """The leases of one table.

    Attributes:
        waiting: the condition for rows that may be claimed.
        held: the condition for claimed rows.
        free: the column values of an unclaimed row.
        on_claim: maps a worker's name to table-specific values of a claimed row.
        log_claim: records a claim in the row's log.
    """

    model: type[Row]
    waiting: ColumnElement[bool]
    held: ColumnElement[bool]
    free: Mapping[str, Any]
    on_claim: Callable[[str], Mapping[str, Any]] = _no_values
    log_claim: Callable[[Row, Session], None] = _log_nothing

    # --- claim, renew, release -----------------------------------------------------------------

    def claim(
        self, row_id: int, *, session: Session, worker: str, lease_seconds: float, lease: str | None = None
    ) -> Row | None:
        """Claim a waiting row; None when it is held or no longer waiting.

        Args:
            lease: the id of the new lease; generated if not given.
        """
        lease = lease or str(uuid4())
        found = self._claim(
            [row_id], session=session, worker=worker, lease_seconds=lease_seconds, lease=lease
        )
        return found[0] if found else None

    def claim_next(
        self, *, session: Session, worker: str, lease_seconds: float, lease: str | None = None
    ) -> Row | None:
        """Claim the oldest waiting row that no other worker is claiming; None when there is none.

        Args:
            lease: as for `claim`. If a row already has this lease, an earlier call succeeded but its
                response was lost; that row is returned.
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

    def claim_more(
        self,
        claimed: Row,
        alike: ColumnElement[bool],
        *,
        session: Session,
        lease_seconds: float,
        limit: int,
    ) -> Sequence[Row]:
        """Claim more waiting rows under the lease of a claimed one, oldest first.

        Args:
            alike: a condition for the other rows.
            limit: number of rows that the lease covers in the end.

        Returns:
            All rows with this lease. If there are already several, an earlier call succeeded.
        """
        lease, worker = claimed.lease_id, claimed.worker
        if lease is None or worker is None:
            raise ValueError(f"{type(claimed).__name__} {claimed.id} is not claimed.")
        made = select(self.model).where(self.held, self.model.lease_id == lease)  # unordered, for the index
        rows = session.scalars(made).all()
        if len(rows) > 1 or limit <= 1:
            return sorted(rows, key=lambda row: row.id)
        others = select(self.model.id).where(self.waiting, alike).order_by(self.model.id).limit(limit - 1)
        ids = session.scalars(others.with_for_update(skip_locked=True)).all()
        if ids:
            self._claim(ids, session=session, worker=worker, lease_seconds=lease_seconds, lease=lease)
        return sorted(session.scalars(made), key=lambda row: row.id)

    def _claim(
        self, row_ids: Sequence[int], *, session: Session, worker: str, lease_seconds: float, lease: str
    ) -> Sequence[Row]:
        """Claim those of some rows that wait, and return them."""
        claimed = session.execute(
            update(self.model)
            .where(self.model.id.in_(row_ids), self.waiting)
            .values(
                lease_id=lease,
                lease_until=clock.after(lease_seconds),
                worker=worker,
                attempt=self.model.attempt + 1,
                **self.on_claim(worker),
            )
            .execution_options(synchronize_session=False)
        )
        if not claimed.rowcount:  # type: ignore[attr-defined]
            return []
        session.expire_all()
        mine = self.model.id.in_(row_ids), self.model.lease_id == lease
        rows = session.scalars(select(self.model).where(*mine)).all()
        for row in rows:
            self.log_claim(row, session)
        return rows

    def guard(self, *claims: Claim) -> ColumnElement[bool]:
        """The condition for the claimed rows while the claims are valid. All claims are of one lease."""
        mine = self.model.id.in_([claim.id for claim in claims])
        return mine & (self.model.lease_id == claims[0].lease) & self.held

    def write(self, *claims: Claim, session: Session, **values: Any) -> bool:
        """Set columns of the claimed rows; False when the lease of one of them was lost."""
        written = session.execute(update(self.model).where(self.guard(*claims)).values(**values))
        return written.rowcount == len(claims)  # type: ignore[attr-defined,no-any-return]

    def renew(self, *claims: Claim, session: Session, lease_seconds: float) -> bool:
        """Extend a lease; False when it was lost and the worker must stop."""
        return self.write(*claims, session=session, lease_until=clock.after(lease_seconds))

    def release(self, *claims: Claim, session: Session, **values: Any) -> bool:
        """Release unfinished rows to other workers. The attempt does not count."""
        attempt = self.model.attempt - 1
        return self.write(*claims, session=session, attempt=attempt, sent_at=None, **self.free, **values)

    # --- leases whose worker died --------------------------------------------------------------

    def all_held(self, *, session: Session) -> dict[str, tuple[str | None, datetime]]:
        """All held leases by id, with their worker and expiry time."""
        query = select(self.model.lease_id, self.model.worker, self.model.lease_until).where(
            self.held, self.model.lease_id.is_not(None), self.model.lease_until.is_not(None)
        )
        return {lease: (worker, until) for lease, worker, until in session.execute(query) if lease and until}

    def expire(self, leases: Collection[str], *, session: Session) -> None:
        """Expire the leases of dead workers, so that `reap` can free their rows."""
        session.execute(
            update(self.model)
            .where(self.held, self.model.lease_id.in_(leases))
            .values(lease_until=clock.after(-1))
        )

    def reap(
        self, leases: Collection[str], *, session: Session, after: Callable[[Row], Mapping[str, Any]]
    ) -> None:
        """Free the rows of expired leases.

        Args:
            leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.
            after: maps a row to the values that it gets in addition to `free`.
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

    # --- lost messages -------------------------------------------------------------------------

    def mark_sent(self, row_id: int, *, session: Session) -> None:
        """Record that the broker accepted the row's message."""
        session.execute(update(self.model).where(self.model.id == row_id).values(sent_at=clock.now()))

    def take_undelivered(self, *, session: Session, resend_seconds: float, limit: int = 50) -> Sequence[int]:
        """Mark waiting rows as sent if their message is older than `resend_seconds` or was never sent.

        Returns:
            Their ids. The caller sends them after the commit and calls `unsend` for those that failed.
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
        """Undo `mark_sent`: the broker did not accept these messages."""
        session.execute(update(self.model).where(self.model.id.in_(row_ids)).values(sent_at=None))

    def _undelivered(self, resend_seconds: float) -> list[ColumnElement[bool]]:
        stale = self.model.sent_at < clock.after(-resend_seconds)
        return [self.waiting, or_(self.model.sent_at.is_(None), stale)]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CancelLeases(Leases[Row]):
    """Leases of rows whose work must end soon after it was cancelled.

    Attributes:
        deadline: the column with the time by which a cancelled row must be released.
    """

    deadline: InstrumentedAttribute[datetime | None]

    def acknowledge_cancel(self, *claims: Claim, session: Session) -> None:
        """Extend the deadline of a cancel, since the worker has acknowledged it and is about to stop."""
        deadline = {self.deadline.key: clock.after(ACKNOWLEDGED_SECONDS)}
        session.execute(
            update(self.model).where(self.guard(*claims), self.deadline.is_not(None)).values(**deadline)
        )

    def overdue_cancels(self, worker: str, *, session: Session) -> list[Claim]:
        """Claims that a worker still holds after their cancel deadline."""
        late = select(self.model.id, self.model.lease_id, self.model.attempt).where(
            self.held, self.model.worker == worker, self.deadline < clock.now()
        )
        return [Claim(row_id, str(lease), attempt) for row_id, lease, attempt in session.execute(late)]
