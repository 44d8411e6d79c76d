"""Login sessions. The browser has a random token; the database stores its hash, user and expiry time."""

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store import clock
from app.store.models import LoginSession

LIFETIME: Final = timedelta(days=14)


def begin(user: str, *, session: Session) -> str:
    """Start a session and return its token, which is not stored. Expired sessions are deleted."""
    now = clock.read(session=session)
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    session.add(LoginSession(token_hash=_hash(token), user=user, created_at=now, expires_at=now + LIFETIME))
    return token


def user_of(token: str, *, session: Session) -> str | None:
    """The user of a token; None if the token is unknown or expired."""
    alive = LoginSession.expires_at > clock.now()
    return session.scalar(select(LoginSession.user).where(LoginSession.token_hash == _hash(token), alive))


def end(token: str, *, session: Session) -> None:
    """End the session of a token; a no-op for an unknown token."""
    session.execute(delete(LoginSession).where(LoginSession.token_hash == _hash(token)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
