"""Calls that may be repeated: the first one with a key is carried out, the others get its answer.

A key is taken before the call is carried out, in a transaction of its own, and answered after it. A call
that never got an answer, because its process died, frees its key after a while.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.errors import InvalidInput, Refused
from app.store import clock, users
from app.store.models import IdempotentCall

KEPT: Final = timedelta(hours=24)
UNANSWERED_FOR: Final = timedelta(minutes=10)
MAX_KEY_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Answered:
    """What the first call with a key was answered."""

    status: int
    response: Any


def take(key: str, request_sha256: str, *, session: Session, user: str) -> int | Answered:
    """Claim a key of a user for a request.

    Returns:
        The claim's id, to be answered or given back; or the answer, where the request was answered before.

    Raises:
        InvalidInput: for an empty or long key, or one that came with another request.
        Refused: while the first call is still being carried out.
    """
    if not 0 < len(key) <= MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise InvalidInput(
            f"Idempotency-Key must have 1 to {MAX_KEY_CHARS} printable ASCII characters.",
            field="Idempotency-Key",
        )
    user_id = users.ensure(user, session=session).id
    _forget_old(session)
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    claim = session.scalar(
        kind.insert(IdempotentCall)
        .values(user_id=user_id, key=key, request_sha256=request_sha256, created_at=clock.now())
        .on_conflict_do_nothing()
        .returning(IdempotentCall.id)
    )
    if claim is not None:
        return int(claim)
    first = session.scalars(
        select(IdempotentCall).where(IdempotentCall.user_id == user_id, IdempotentCall.key == key)
    ).one()
    if first.request_sha256 != request_sha256:
        raise InvalidInput(
            "This Idempotency-Key was used for another request before; use a new key for each request.",
            field="Idempotency-Key",
        )
    if first.status is None:
        raise Refused("The first call with this Idempotency-Key is still running; try again.")
    return Answered(first.status, first.response)


def answer(claim: int, status: int, response: Any, *, session: Session) -> None:
    """Keep what a call was answered."""
    session.execute(
        update(IdempotentCall).where(IdempotentCall.id == claim).values(status=status, response=response)
    )


def give_back(claim: int, *, session: Session) -> None:
    """Free the key of a call that failed, so that it may be tried again."""
    session.execute(delete(IdempotentCall).where(IdempotentCall.id == claim))


def _forget_old(session: Session) -> None:
    now = clock.read(session=session)
    unanswered = and_(IdempotentCall.status.is_(None), IdempotentCall.created_at < now - UNANSWERED_FOR)
    session.execute(delete(IdempotentCall).where(or_(IdempotentCall.created_at < now - KEPT, unanswered)))
