"""Bearer tokens of API clients: created once, stored as a hash, looked up on every call.

A token has 256 random bits, so a single round of SHA-256 is enough: a token cannot be guessed.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, bindparam, or_, select, update
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound
from app.store import clock, users
from app.store.models import ApiToken, User
from app.text import clean_name

PREFIX: Final = "hypo_"
"""The prefix of every token, so that secret scanners detect leaked ones."""

MAX_NAME_CHARS: Final = 100
MOST_DAYS: Final = 3650
USE_NOTED_EVERY: Final = timedelta(minutes=1)
"""The last use is written at most this often, so most read-only calls write nothing."""

_SHAPE = re.compile(rf"{PREFIX}[\w-]{{43}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KnownToken:
    """The valid token of a call. If `use_is_old`, the caller should call `note_use`."""

    id: int
    user: str
    use_is_old: bool


def create(
    user: str, *, session: Session, label: str = "", expires_days: float | None = None
) -> tuple[ApiToken, str]:
    """Create a token for a user, and the user if new.

    Args:
        label: the purpose of the token.
        expires_days: days until it stops working; None for never.

    Returns:
        The row, and the token itself, which cannot be retrieved later.

    Raises:
        InvalidInput: for an empty or long name, a long label, or days out of bounds.
    """
    user, label = clean_name(user), clean_name(label)
    if not 0 < len(user) <= MAX_NAME_CHARS:
        raise InvalidInput(f"The user's name must have 1 to {MAX_NAME_CHARS} characters.", field="user")
    if len(label) > MAX_NAME_CHARS:
        raise InvalidInput(f"The token's name has more than {MAX_NAME_CHARS} characters.", field="name")
    if expires_days is not None and not 0 < expires_days <= MOST_DAYS:
        raise InvalidInput(f"expires must be above 0 and at most {MOST_DAYS:,} days.", field="expires")
    secret = PREFIX + secrets.token_urlsafe(32)
    now = clock.read(session=session)
    token = ApiToken(
        user_id=users.ensure(user, session=session).id,
        label=label,
        sha256=_sha256(secret),
        created_at=now,
        expires_at=None if expires_days is None else now + timedelta(days=expires_days),
    )
    session.add(token)
    session.flush()
    return token, secret


def find(secret: str, *, session: Session) -> KnownToken | None:
    """Look up a token; None if it is unknown, expired or revoked."""
    if not _SHAPE.fullmatch(secret):
        return None
    found = session.execute(_FIND, {"sha256": _sha256(secret)}).one_or_none()
    if found is None:
        return None
    token_id, name, use_is_old = found
    return KnownToken(token_id, name, bool(use_is_old))


def note_use(token_id: int, *, session: Session) -> None:
    """Record the use of a token. Of many calls in the same minute, only one writes."""
    noting = update(ApiToken).where(ApiToken.id == token_id, _use_is_old()).values(last_used_at=clock.now())
    session.execute(noting)


def _use_is_old() -> ColumnElement[bool]:
    """The condition that the recorded use of a token is old enough to be updated."""
    before = clock.after(-USE_NOTED_EVERY.total_seconds())
    return or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < before)


_FIND = (
    select(ApiToken.id, User.name, _use_is_old())
    .join(User, ApiToken.user_id == User.id)
    .where(
        ApiToken.sha256 == bindparam("sha256"),
        ApiToken.revoked_at.is_(None),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > clock.now()),
    )
)


def listed(*, session: Session, user: str | None = None) -> Sequence[tuple[ApiToken, str]]:
    """All tokens with their users' names, newest first, including revoked and expired ones."""
    query = select(ApiToken, User.name).join(User, ApiToken.user_id == User.id).order_by(ApiToken.id.desc())
    if user is not None:
        query = query.where(User.name == user)
    return [(token, name) for token, name in session.execute(query)]


def revoke(token_id: int, *, session: Session) -> ApiToken:
    """Revoke a token immediately; its row stays. Idempotent.

    Raises:
        NotFound: when there is no token with this id.
    """
    token = session.get(ApiToken, token_id)
    if token is None:
        raise NotFound(f"There is no token {token_id}; `hypo tokens list` lists all tokens.")
    if token.revoked_at is None:
        token.revoked_at = clock.read(session=session)
    session.flush()
    return token


def state(token: ApiToken) -> str:
    """`valid`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= clock.present() else "valid"


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
