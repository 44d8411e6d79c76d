"""The worker's side of comparisons: claimed as a whole, with a lease, and given back.

A worker that dies loses the lease; the next one starts the unfinished answers again.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from app.store import clock
from app.store.conversations import get_comparison
from app.store.enums import GenerationStatus
from app.store.generations import unfinished
from app.store.models import Comparison, Contender, Generation

MAX_ANSWER_ATTEMPTS = 3

NO_LEASE: dict[str, Any] = {"lease_id": None, "lease_until": None, "worker": None, "stop_by": None}
"""What a comparison that no worker holds has for a lease."""


def is_held() -> ColumnElement[bool]:
    """That a comparison is held, in words for which SQLite uses the index: for IS NOT NULL it does not."""
    return Comparison.lease_until > datetime(1970, 1, 1, tzinfo=UTC)


def mark_sent(comparison_id: int, *, session: Session) -> None:
    """Remember that the broker took the comparison's message."""
    session.execute(update(Comparison).where(Comparison.id == comparison_id).values(sent_at=clock.now()))


def claim(
    comparison_id: int, *, session: Session, worker: str, lease_seconds: float, lease_id: str | None = None
) -> Comparison | None:
    """Take a comparison that has answers to write and no worker; None otherwise.

    Args:
        lease_id: the new lease's name; one is made if not given.
    """
    taken = session.execute(
        update(Comparison)
        .where(Comparison.id == comparison_id, Comparison.lease_id.is_(None), _has_unfinished())
        .values(
            lease_id=lease_id or str(uuid4()),
            lease_until=clock.after(lease_seconds),
            worker=worker,
            stop_by=None,
            attempt=Comparison.attempt + 1,
        )
        .execution_options(synchronize_session=False)
    )
    if not taken.rowcount:  # type: ignore[attr-defined]
        return None
    session.expire_all()
    return get_comparison(comparison_id, session=session)


def claim_next(
    *, session: Session, worker: str, lease_seconds: float, lease_id: str | None = None
) -> Comparison | None:
    """Take the comparison that waits longest and that nobody else is taking; None when none waits.

    Args:
        lease_id: as for `claim`; with one that holds a comparison, the claim was made, and its answer lost.
    """
    if lease_id is not None:
        made = select(Comparison).where(is_held(), Comparison.lease_id == lease_id)
        if (comparison := session.scalar(made)) is not None:
            return comparison
    waiting = (
        select(Comparison.id)
        .where(Comparison.id.in_(_with_unfinished()), Comparison.lease_id.is_(None))
        .order_by(Comparison.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = session.scalar(waiting)
    if found is None:
        return None
    return claim(found, session=session, worker=worker, lease_seconds=lease_seconds, lease_id=lease_id)


def renew(comparison_id: int, lease_id: str, *, session: Session, lease_seconds: float) -> bool:
    """Keep a claimed comparison; False when the lease was lost."""
    done = session.execute(
        update(Comparison)
        .where(Comparison.id == comparison_id, Comparison.lease_id == lease_id)
        .values(lease_until=clock.after(lease_seconds))
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def release(comparison_id: int, lease_id: str, *, session: Session) -> None:
    """Let go in good order: the attempt does not count, and what is unfinished may be claimed again."""
    session.execute(
        update(Comparison)
        .where(Comparison.id == comparison_id, Comparison.lease_id == lease_id)
        .values(sent_at=None, attempt=Comparison.attempt - 1, **NO_LEASE)
    )


def held(*, session: Session) -> dict[str, tuple[str | None, datetime]]:
    """The leases of comparisons: their holders and their ends."""
    query = select(Comparison.lease_id, Comparison.worker, Comparison.lease_until).where(
        Comparison.lease_id.is_not(None), is_held()
    )
    return {lease: (worker, until) for lease, worker, until in session.execute(query) if lease}  # type: ignore[misc]


def take_undelivered(*, session: Session, resend_seconds: float, limit: int = 50) -> Sequence[int]:
    """Mark comparisons as sent that wait for a worker and whose message is old or was never sent.

    Returns:
        Their ids, for the caller to send after the commit; `unsend` is for those that could not be sent.
    """
    found = session.scalars(
        select(Comparison.id)
        .where(*_undelivered(resend_seconds))
        .order_by(Comparison.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if found:
        session.execute(update(Comparison).where(Comparison.id.in_(found)).values(sent_at=clock.now()))
    return found


def is_undelivered(*, session: Session, resend_seconds: float) -> bool:
    """Whether there is anything for `take_undelivered`, found out without a lock."""
    return session.scalar(select(Comparison.id).where(*_undelivered(resend_seconds)).limit(1)) is not None


def _undelivered(resend_seconds: float) -> list[ColumnElement[bool]]:
    stale = clock.after(-resend_seconds)
    return [
        Comparison.id.in_(_with_unfinished()),
        Comparison.lease_id.is_(None),
        or_(Comparison.sent_at.is_(None), Comparison.sent_at < stale),
    ]


def unsend(comparison_ids: Sequence[int], *, session: Session) -> None:
    """The broker did not take these after all."""
    session.execute(update(Comparison).where(Comparison.id.in_(comparison_ids)).values(sent_at=None))


def expire(leases: Collection[str], *, session: Session) -> None:
    """End the leases of workers known to be dead; `give_up_on_lost` does the rest."""
    session.execute(
        update(Comparison)
        .where(Comparison.lease_id.in_(leases), is_held())
        .values(lease_until=clock.after(-1))
    )


def give_up_on_lost(leases: Collection[str], *, session: Session) -> None:
    """Take comparisons back from dead workers, and fail answers whose workers died again and again.

    Args:
        leases: those that the caller has seen unrenewed; of them, those that are over are taken back.
    """
    over = (Comparison.lease_id.in_(leases), Comparison.lease_until < clock.now())
    lost = session.execute(
        select(Comparison.id, Comparison.attempt).where(*over).with_for_update(skip_locked=True)
    ).all()
    hopeless = [comparison_id for comparison_id, attempt in lost if attempt >= MAX_ANSWER_ATTEMPTS]
    if hopeless:
        session.execute(
            update(Generation)
            .where(Generation.comparison_id.in_(hopeless), unfinished())
            .values(
                status=GenerationStatus.FAILED,
                error="The worker died again and again while answering; it may need more memory.",
            )
            .execution_options(synchronize_session=False)
        )
    if lost:
        session.execute(
            update(Comparison)
            .where(Comparison.id.in_([comparison_id for comparison_id, _ in lost]))
            .values(sent_at=None, **NO_LEASE)
            .execution_options(synchronize_session=False)
        )


def answering_with(run_id: int, *, session: Session) -> bool:
    """Whether an answer is being written with the run's weights right now."""
    busy = (
        select(Generation.id)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .join(
            Contender,
            (Contender.conversation_id == Comparison.conversation_id)
            & (Contender.position == Generation.position),
        )
        .where(
            Contender.run_id == run_id,
            unfinished(),
        )
        .limit(1)
    )
    return session.scalar(busy) is not None


def _has_unfinished() -> Any:
    return select(Generation.id).where(Generation.comparison_id == Comparison.id, unfinished()).exists()


def _with_unfinished() -> Any:
    return select(Generation.comparison_id).where(Generation.comparison_id.is_not(None), unfinished())
