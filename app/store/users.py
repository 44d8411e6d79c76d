"""Users: the people who ask and vote."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.models import User

LOCAL = "local"
"""The only user if there is no login."""


def ensure(name: str, *, session: Session) -> User:
    """Return the user with a name, created if new. If two writers race, one inserts and the other reads."""
    query = select(User).where(User.name == name)
    user = session.scalar(query)
    if user is None:
        kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        session.execute(kind.insert(User).values(name=name).on_conflict_do_nothing())
        user = session.scalars(query).one()
    return user


def find(name: str, *, session: Session) -> int | None:
    """The id of the user with a name, if there is one."""
    return session.scalar(select(User.id).where(User.name == name))
