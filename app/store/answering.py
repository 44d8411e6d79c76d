"""Leases on comparisons: a worker claims a whole comparison and releases it once it is answered.

Comparisons of a chat go first. Of a campaign a worker claims several at once, and decodes their answers
together. When a worker dies, the next one restarts its unfinished answers.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, aliased

from app.store import campaign_tasks
from app.store.enums import GenerationStatus
from app.store.generations import unfinished, unfinished_here
from app.store.leases import CancelLeases
from app.store.models import Campaign, Comparison, Contender, Generation

MAX_ANSWER_ATTEMPTS = 3

FEWER_AFTER_DEATH = 8
"""A batch is smaller by this factor after each death of its worker, which may have been out of memory."""

_HAS_UNFINISHED = Comparison.id.in_(
    select(Generation.comparison_id).where(Generation.comparison_id.is_not(None), unfinished_here())
)

ANSWER_LEASES = CancelLeases(
    model=Comparison,
    waiting=_HAS_UNFINISHED & Comparison.lease_id.is_(None),
    # SQLite uses the index for a range condition, but not for IS NOT NULL
    held=Comparison.lease_until > datetime(1970, 1, 1, tzinfo=UTC),
    deadline=Comparison.stop_by,
    free={"lease_id": None, "lease_until": None, "worker": None, "stop_by": None},
)

CHAT_LEASES = replace(ANSWER_LEASES, waiting=ANSWER_LEASES.waiting & Comparison.campaign_id.is_(None))
"""The same leases; only comparisons of the Compare page may be claimed."""

_other = aliased(Comparison)
_FIRST_OF_CAMPAIGN = Comparison.id.in_(
    select(func.min(_other.id))
    .where(
        _other.id.in_(select(Generation.comparison_id).where(unfinished_here())),
        _other.campaign_id.is_not(None),
        _other.lease_id.is_(None),
    )
    .group_by(_other.campaign_id)
)

WAKE_UPS = replace(
    ANSWER_LEASES, waiting=ANSWER_LEASES.waiting & (Comparison.campaign_id.is_(None) | _FIRST_OF_CAMPAIGN)
)
"""The same leases; of a campaign only the first waiting comparison is sent again."""


def claim_next(
    *, session: Session, worker: str, lease_seconds: float, lease: str, rows: int, chats_only: bool = False
) -> Sequence[Comparison]:
    """Claim the oldest waiting comparison of a chat, or else several of a campaign, under one lease.

    Args:
        lease: the id of the lease; a repeated call with the same id returns the same comparisons.
        rows: number of answers of a campaign to write together.
        chats_only: leave the campaigns' comparisons.

    Returns:
        The claimed comparisons; none if nothing waits.
    """
    found = None
    for leases in (CHAT_LEASES,) if chats_only else (CHAT_LEASES, ANSWER_LEASES):
        found = found or leases.claim_next(
            session=session, worker=worker, lease_seconds=lease_seconds, lease=lease
        )
    if found is None:
        return []
    if found.campaign_id is None:
        return [found]
    alike = (Comparison.campaign_id == found.campaign_id) & (Comparison.attempt == found.attempt - 1)
    most = rows // FEWER_AFTER_DEATH ** (found.attempt - 1) // len(found.shown_order)
    return ANSWER_LEASES.claim_more(found, alike, session=session, lease_seconds=lease_seconds, limit=most)


def add_answered(campaign_id: int, *, session: Session, answers: int, seconds: float) -> None:
    """Count answers that a worker wrote for a campaign, and the time that it took."""
    session.execute(
        update(Campaign)
        .where(Campaign.id == campaign_id)
        .values(answered=Campaign.answered + answers, answering_seconds=Campaign.answering_seconds + seconds)
    )


def reap(leases: Collection[str], *, session: Session) -> None:
    """Free comparisons whose worker died. After too many attempts, their unfinished answers fail.

    Args:
        leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.
    """

    def after(comparison: Comparison) -> Mapping[str, Any]:
        if comparison.attempt >= MAX_ANSWER_ATTEMPTS:
            _fail_unfinished(comparison.id, session)
            if comparison.campaign_id is not None:
                campaign_tasks.settle([comparison.id], session=session)
        return {"sent_at": None}

    ANSWER_LEASES.reap(leases, session=session, after=after)


def _fail_unfinished(comparison_id: int, session: Session) -> None:
    session.execute(
        update(Generation)
        .where(Generation.comparison_id == comparison_id, unfinished_here())
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
