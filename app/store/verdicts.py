"""Verdicts as work: claimed several at once by workers, and written with both replies or both scores."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from app.store.answering import MAX_ANSWER_ATTEMPTS
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.leases import Leases
from app.store.models import Generation, Judge, JudgeReply, JudgeVerdict
from app.store.prompts import canonical

VERDICT_LEASES = Leases(
    model=JudgeVerdict,
    waiting=(JudgeVerdict.status == VerdictStatus.QUEUED) & JudgeVerdict.lease_id.is_(None),
    held=JudgeVerdict.lease_until > datetime(1970, 1, 1, tzinfo=UTC),
    free={"lease_id": None, "lease_until": None, "worker": None},
)


def _of_kind(kind: JudgeKind) -> Leases[JudgeVerdict]:
    """The same leases; only verdicts of one kind of judges wait."""
    those = JudgeVerdict.judge_id.in_(select(Judge.id).where(Judge.kind == kind))
    return replace(VERDICT_LEASES, waiting=VERDICT_LEASES.waiting & those)


def _first_of_kind(kind: JudgeKind) -> Leases[JudgeVerdict]:
    other = aliased(JudgeVerdict)
    first = (
        select(func.min(other.id))
        .join(Judge, other.judge_id == Judge.id)
        .where(other.status == VerdictStatus.QUEUED, other.lease_id.is_(None), Judge.kind == kind)
        .scalar_subquery()
    )
    return replace(VERDICT_LEASES, waiting=VERDICT_LEASES.waiting & (JudgeVerdict.id == first))


_LEASES_OF = {kind: _of_kind(kind) for kind in JudgeKind}

VERDICT_WAKE_UPS = {kind: _first_of_kind(kind) for kind in JudgeKind}
"""The same leases; only for the first waiting verdict of each kind of judges is a message sent again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A claimed verdict with what the judge is to see: the prompt's messages and both answers."""

    verdict: JudgeVerdict
    prompt: Any
    first: str
    second: str


def claim_next(
    kind: JudgeKind, *, session: Session, worker: str, lease_seconds: float, lease: str, rows: int
) -> tuple[Judge | None, Sequence[Waiting]]:
    """Claim the verdicts that have waited longest, of one judge, under one lease.

    Args:
        lease: the id of the lease; a repeated call with the same id returns the same verdicts.
        rows: the most verdicts to claim.
    """
    found = _LEASES_OF[kind].claim_next(
        session=session, worker=worker, lease_seconds=lease_seconds, lease=lease
    )
    if found is None:
        return None, []
    alike = JudgeVerdict.judge_id == found.judge_id
    claimed = VERDICT_LEASES.claim_more(
        found, alike, session=session, lease_seconds=lease_seconds, limit=rows
    )
    return session.get_one(Judge, found.judge_id), _with_answers(claimed, session)


def _with_answers(claimed: Sequence[JudgeVerdict], session: Session) -> list[Waiting]:
    if claimed[0].source_id is None:
        return _with_samples(claimed, session)
    sources = {verdict.source_id for verdict in claimed}
    query = select(Generation).where(Generation.comparison_id.in_(sources)).order_by(Generation.take)
    answers = {(row.comparison_id, row.position): row for row in session.scalars(query)}
    found = []
    for verdict in claimed:
        first = answers[verdict.source_id, verdict.first]
        second = answers[verdict.source_id, verdict.second]
        found.append(Waiting(verdict, first.prompt.content, first.text, second.text))
    return found


def _with_samples(claimed: Sequence[JudgeVerdict], session: Session) -> list[Waiting]:
    ids = {answer for verdict in claimed for answer in (verdict.answer_id, verdict.against_id)}
    query = select(Generation).where(Generation.id.in_(ids))
    samples = {row.id: row for row in session.scalars(query)}
    found = []
    for verdict in claimed:
        answer, against = samples[verdict.answer_id or 0], samples[verdict.against_id or 0]
        found.append(Waiting(verdict, answer.prompt.content, answer.text, against.text))
    return found


def still_wanted(verdict_ids: Collection[int], *, session: Session) -> set[int]:
    """The subset of the verdicts that are queued, which excludes those that were stopped."""
    query = select(JudgeVerdict.id).where(
        JudgeVerdict.id.in_(verdict_ids), JudgeVerdict.status == VerdictStatus.QUEUED
    )
    return set(session.scalars(query))


def write(
    verdict_id: int,
    *,
    session: Session,
    status: VerdictStatus,
    outcome: Outcome | None = None,
    flipped: bool | None = None,
    replies: tuple[int | None, int | None] = (None, None),
    scores: tuple[float | None, float | None] = (None, None),
    error: str | None = None,
) -> None:
    """queued or stopped -> judged, unparsable or failed. Replies that were paid for are used in any case."""
    session.execute(
        update(JudgeVerdict)
        .where(
            JudgeVerdict.id == verdict_id,
            JudgeVerdict.status.in_([VerdictStatus.QUEUED, VerdictStatus.STOPPED]),
        )
        .values(
            status=status,
            outcome=outcome,
            flipped=flipped,
            forward_id=replies[0],
            backward_id=replies[1],
            first_score=scores[0],
            second_score=scores[1],
            error=error,
        )
    )


def reap(leases: Collection[str], *, session: Session) -> None:
    """Free verdicts whose worker died. After too many attempts they fail.

    Args:
        leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.
    """

    def after(verdict: JudgeVerdict) -> Mapping[str, Any]:
        if verdict.attempt >= MAX_ANSWER_ATTEMPTS and verdict.status is VerdictStatus.QUEUED:
            error = "The worker died repeatedly while it waited for the judge."
            return {"sent_at": None, "status": VerdictStatus.FAILED, "error": error}
        return {"sent_at": None}

    VERDICT_LEASES.reap(leases, session=session, after=after)


# --- replies, once by content -------------------------------------------------------------------


def key_of(sent: Mapping[str, Any]) -> str:
    """A hash of everything that was sent for a reply, and of the endpoint."""
    return hashlib.sha256(canonical(sent).encode("utf-8", "surrogatepass")).hexdigest()


def stored_reply(key: str, *, session: Session) -> JudgeReply | None:
    """The reply to the same question, if there is one."""
    return session.scalars(select(JudgeReply).where(JudgeReply.sha256 == key)).one_or_none()


def store_reply(key: str, *, session: Session, **values: Any) -> JudgeReply:
    """Store a reply and return it; if another worker stored one meanwhile, return that one."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(kind.insert(JudgeReply).values(sha256=key, **values).on_conflict_do_nothing())
    return session.scalars(select(JudgeReply).where(JudgeReply.sha256 == key)).one()
