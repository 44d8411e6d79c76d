"""Transactions for rows that a test writes itself."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from sqlalchemy.orm import Session


def within(session: Session) -> Callable[[], AbstractContextManager[Session]]:
    """Make functions that begin their own transactions use the open one."""
    return lambda: nullcontext(session)
