"""Scorings as work: a text is scored once by a generate worker, token by token, and the result is kept."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store import users
from app.store.answering import MAX_ANSWER_ATTEMPTS
from app.store.claims import Claim
from app.store.enums import ScoringStatus
from app.store.leases import Leases
from app.store.models import ScoredText, Scoring

SCORING_LEASES = Leases(
    model=Scoring,
    waiting=(Scoring.status == ScoringStatus.QUEUED) & Scoring.lease_id.is_(None),
    held=Scoring.lease_until > datetime(1970, 1, 1, tzinfo=UTC),
    free={"lease_id": None, "lease_until": None, "worker": None},
)

MOST_TOKENS = 8192
"""The longest text that is scored."""

MOST_OF_A_TEXT = 16
"""Scorings of one text under one lease: more than it can have contenders."""


# --- requests -----------------------------------------------------------------------------------


def of_answer(generation_id: int, *, session: Session) -> Scoring | None:
    """The scoring of a generation, if somebody has asked for it."""
    return session.scalars(select(Scoring).where(Scoring.generation_id == generation_id)).one_or_none()


def want_answer(generation_id: int, *, session: Session) -> Scoring:
    """Queue the scoring of a generation. One that exists stays as it is; a failed one is queued again.

    Two people who ask at once get the same one.
    """
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = {"generation_id": generation_id, "position": 0, "attempt": 0, "as_sampled": True}
    insert = kind.insert(Scoring).values(status=ScoringStatus.QUEUED, **values)
    session.execute(insert.on_conflict_do_nothing())
    _again(Scoring.generation_id == generation_id, session=session)
    query = select(Scoring).where(Scoring.generation_id == generation_id)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def want_text(
    prompt_id: int, text: str, contenders: Sequence[Mapping[str, Any]], *, session: Session, user: str
) -> ScoredText:
    """Store a text, and queue its scoring by each contender."""
    scored = ScoredText(
        user_id=users.ensure(user, session=session).id,
        prompt_id=prompt_id,
        text=text,
        contenders=[dict(contender) for contender in contenders],
    )
    session.add(scored)
    session.flush()
    for position in range(len(contenders)):
        session.add(Scoring(scored_text_id=scored.id, position=position))
    session.flush()
    return scored


def try_text_again(scored_text_id: int, *, session: Session) -> None:
    """failed -> queued, for all scorings of a text."""
    _again(Scoring.scored_text_id == scored_text_id, session=session)


def _again(those: Any, *, session: Session) -> None:
    session.execute(
        update(Scoring)
        .where(those, Scoring.status == ScoringStatus.FAILED)
        .values(status=ScoringStatus.QUEUED, error=None, attempt=0, sent_at=None)
        .execution_options(synchronize_session=False)
    )


def own_text(scored_text_id: int, user: str, *, session: Session) -> ScoredText:
    """A text that this person had scored.

    Raises:
        NotFound: when there is none with this id, or when it is another person's.
    """
    scored = session.get(ScoredText, scored_text_id)
    if scored is None or scored.user_id != users.find(user, session=session):
        raise NotFound(f"You have no scored text {scored_text_id}; score one on the page Score a text.")
    return scored


def recent_texts(
    user: str, *, session: Session, limit: int, before: int | None = None
) -> Sequence[ScoredText]:
    """The texts that a person had scored, newest first. With `before`, only those with a smaller id."""
    query = select(ScoredText).where(ScoredText.user_id == users.find(user, session=session))
    if before is not None:
        query = query.where(ScoredText.id < before)
    return session.scalars(query.order_by(ScoredText.id.desc()).limit(limit)).all()


def of_text(scored_text_id: int, *, session: Session) -> Sequence[Scoring]:
    """The scorings of a text, in the order of its contenders."""
    query = select(Scoring).where(Scoring.scored_text_id == scored_text_id)
    return session.scalars(query.order_by(Scoring.position)).all()


# --- work: queued -> finished | failed ----------------------------------------------------------


def claim_next(*, session: Session, worker: str, lease_seconds: float, lease: str) -> Sequence[Scoring]:
    """Claim the scoring that has waited longest, with the others of its text, under one lease.

    Args:
        lease: the id of the lease; a repeated call with the same id returns the same scorings.

    Returns:
        The claimed scorings; none if nothing waits.
    """
    found = SCORING_LEASES.claim_next(
        session=session, worker=worker, lease_seconds=lease_seconds, lease=lease
    )
    if found is None:
        return []
    if found.scored_text_id is None:
        return [found]
    alike = Scoring.scored_text_id == found.scored_text_id
    return SCORING_LEASES.claim_more(
        found, alike, session=session, lease_seconds=lease_seconds, limit=MOST_OF_A_TEXT
    )


def finish(
    claim: Claim,
    *,
    session: Session,
    tokens: list[Any],
    policy_logp: float | None,
    reference_logp: float | None,
    step: int | None,
    as_sampled: bool,
) -> bool:
    """queued -> finished; False when the lease was lost."""
    return SCORING_LEASES.write(
        claim,
        session=session,
        status=ScoringStatus.FINISHED,
        tokens=tokens,
        policy_logp=policy_logp,
        reference_logp=reference_logp,
        step=step,
        as_sampled=as_sampled,
        error=None,
    )


def fail(claim: Claim, *, session: Session, error: str) -> bool:
    """queued -> failed, with an error message for users; False when the lease was lost."""
    return SCORING_LEASES.write(claim, session=session, status=ScoringStatus.FAILED, error=error)


def reap(leases: Collection[str], *, session: Session) -> None:
    """Free scorings whose worker died. After too many attempts they fail.

    Args:
        leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.
    """

    def after(scoring: Scoring) -> Mapping[str, Any]:
        if scoring.attempt >= MAX_ANSWER_ATTEMPTS and scoring.status is ScoringStatus.QUEUED:
            error = "The worker died repeatedly while it scored this text; it may need more memory."
            return {"sent_at": None, "status": ScoringStatus.FAILED, "error": error}
        return {"sent_at": None}

    SCORING_LEASES.reap(leases, session=session, after=after)
