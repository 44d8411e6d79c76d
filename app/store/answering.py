"""Leases on comparisons: a worker claims a whole comparison and releases it once it is answered.

When a worker dies, the next one restarts its unfinished answers.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.store.enums import GenerationStatus
from app.store.generations import unfinished
from app.store.leases import Leases
from app.store.models import Comparison, Contender, Generation

MAX_ANSWER_ATTEMPTS = 3

_HAS_UNFINISHED = Comparison.id.in_(
    select(Generation.comparison_id).where(Generation.comparison_id.is_not(None), unfinished())
)

ANSWER_LEASES = Leases(
    model=Comparison,
    waiting=_HAS_UNFINISHED & Comparison.lease_id.is_(None),
    # SQLite uses the index for a range condition, but not for IS NOT NULL
    held=Comparison.lease_until > datetime(1970, 1, 1, tzinfo=UTC),
    deadline=Comparison.stop_by,
    free={"lease_id": None, "lease_until": None, "worker": None, "stop_by": None},
)


def reap(leases: Collection[str], *, session: Session) -> None:
    """Free comparisons whose worker died. After too many attempts, their unfinished answers fail.

    Args:
        leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.
    """

    def after(comparison: Comparison) -> Mapping[str, Any]:
        if comparison.attempt >= MAX_ANSWER_ATTEMPTS:
            _fail_unfinished(comparison.id, session)
        return {"sent_at": None}

    ANSWER_LEASES.reap(leases, session=session, after=after)


def _fail_unfinished(comparison_id: int, session: Session) -> None:
    session.execute(
        update(Generation)
        .where(Generation.comparison_id == comparison_id, unfinished())
        .values(
            status=GenerationStatus.FAILED,
            error="The worker died repeatedly while answering; it may need more memory.",
        )
        .execution_options(synchronize_session=False)
    )


def answering_with(run_id: int, *, session: Session) -> bool:
    """Whether an answer that uses the run's weights is queued or being written."""
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
