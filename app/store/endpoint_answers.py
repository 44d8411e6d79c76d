"""Answers that endpoints write: claimed several at once, and written as their replies arrive."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.store import campaign_tasks, generations
from app.store.answering import MAX_ANSWER_ATTEMPTS
from app.store.enums import GenerationStatus
from app.store.generations import unfinished
from app.store.leases import Leases
from app.store.models import Comparison, EndpointAnswer, Generation

_UNFINISHED = select(Generation.id).where(unfinished())

ENDPOINT_LEASES = Leases(
    model=EndpointAnswer,
    waiting=EndpointAnswer.generation_id.in_(_UNFINISHED) & EndpointAnswer.lease_id.is_(None),
    held=EndpointAnswer.lease_until > datetime(1970, 1, 1, tzinfo=UTC),
    free={"lease_id": None, "lease_until": None, "worker": None},
)

_other = aliased(EndpointAnswer)
_FIRST = (
    select(func.min(_other.id))
    .where(_other.generation_id.in_(_UNFINISHED), _other.lease_id.is_(None))
    .scalar_subquery()
)

ENDPOINT_WAKE_UPS = replace(ENDPOINT_LEASES, waiting=ENDPOINT_LEASES.waiting & (EndpointAnswer.id == _FIRST))
"""The same leases; only for the first waiting answer is a message sent again."""


def claim_next(
    *, session: Session, worker: str, lease_seconds: float, lease: str, rows: int
) -> Sequence[EndpointAnswer]:
    """Claim the answers that have waited longest, of one endpoint, under one lease.

    Args:
        lease: the id of the lease; a repeated call with the same id returns the same answers.
        rows: the most answers to claim.
    """
    found = ENDPOINT_LEASES.claim_next(
        session=session, worker=worker, lease_seconds=lease_seconds, lease=lease
    )
    if found is None:
        return []
    alike = EndpointAnswer.endpoint == found.endpoint
    return ENDPOINT_LEASES.claim_more(found, alike, session=session, lease_seconds=lease_seconds, limit=rows)


def settle(generation_id: int, *, session: Session) -> None:
    """Decide the tasks of a campaign that waited for an answer which is over."""
    query = select(Comparison).join(Generation, Generation.comparison_id == Comparison.id)
    comparison = session.scalars(query.where(Generation.id == generation_id)).one_or_none()
    if comparison is not None and comparison.campaign_id is not None:
        campaign_tasks.settle([comparison.id], session=session)


def reap(leases: Collection[str], *, session: Session) -> None:
    """Free answers whose worker died. After too many attempts they fail.

    Args:
        leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.
    """

    def after(row: EndpointAnswer) -> Mapping[str, Any]:
        if row.attempt >= MAX_ANSWER_ATTEMPTS:
            generations.fail_answer(
                row.generation_id,
                session=session,
                error="The worker died repeatedly while it waited for the endpoint.",
            )
            settle(row.generation_id, session=session)
        return {"sent_at": None}

    ENDPOINT_LEASES.reap(leases, session=session, after=after)


def count_unwritten(campaign_id: int, *, session: Session) -> int:
    """The number of a campaign's answers that endpoints have yet to write."""
    query = (
        select(func.count())
        .select_from(EndpointAnswer)
        .join(Generation, EndpointAnswer.generation_id == Generation.id)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id, unfinished())
    )
    return session.scalar(query) or 0


def total_cost(campaign_id: int, *, session: Session) -> float | None:
    """What the endpoints' answers of a campaign cost; None without any, or where a cost is unknown."""
    query = (
        select(func.count(), func.count(EndpointAnswer.cost), func.sum(EndpointAnswer.cost))
        .join(Generation, EndpointAnswer.generation_id == Generation.id)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id, Generation.status == GenerationStatus.FINISHED)
    )
    answers, known, cost = session.execute(query).one()
    return cost if answers and answers == known else None
