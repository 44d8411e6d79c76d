"""Idempotent calls: the first call with a key is executed, later ones get its response.

A key is claimed before the call, in a separate transaction, and gets its response after the call. If the
process dies before there is a response, the key expires after a while.
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
    """The response to the first call with a key."""

    status: int
    response: Any


def take(key: str, request_sha256: str, *, session: Session, user: str) -> int | Answered:
    """Claim a user's key for a request.

    Returns:
        The claim's id, for `answer` or `give_back`; or the response, if the request was answered before.

    Raises:
        InvalidInput: for a malformed key, or one that was used for another request.
        Refused: while the first call is still running.
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
    """Store the response to a call."""
    session.execute(
        update(IdempotentCall).where(IdempotentCall.id == claim).values(status=status, response=response)
    )


def give_back(claim: int, *, session: Session) -> None:
    """Release the key of a failed call, so that the call can be retried."""
    session.execute(delete(IdempotentCall).where(IdempotentCall.id == claim))


def _forget_old(session: Session) -> None:
    now = clock.read(session=session)
    unanswered = and_(IdempotentCall.status.is_(None), IdempotentCall.created_at < now - UNANSWERED_FOR)
    session.execute(delete(IdempotentCall).where(or_(IdempotentCall.created_at < now - KEPT, unanswered)))
