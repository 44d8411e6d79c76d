"""Transactions for what a test writes itself."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from sqlalchemy.orm import Session


def within(session: Session) -> Callable[[], AbstractContextManager[Session]]:
    """For functions that begin transactions of their own: all of them in one that is open."""
    return lambda: nullcontext(session)
