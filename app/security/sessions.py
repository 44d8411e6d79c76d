"""The user of a request: that of its session cookie, or the local user if no login is configured."""

from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from app.settings import get_settings
from app.store import sessions
from app.store.db import read_session
from app.store.users import LOCAL

COOKIE: Final = "hypo_session"


def read_user(connection: HTTPConnection) -> str | None:
    """The user of a request, or None. Reads the database if a login is required."""
    logins = dict(get_settings().logins())
    if not logins:
        return LOCAL
    token = connection.cookies.get(COOKIE)
    if not token:
        return None
    with read_session() as session:
        user = sessions.user_of(token, session=session)
    return user if user in logins else None


async def identify(connection: HTTPConnection) -> str | None:
    """Run `read_user` off the event loop."""
    if not get_settings().logins():
        return LOCAL
    return await run_in_threadpool(read_user, connection)


def user_of(connection: HTTPConnection) -> str | None:
    """The user that `identity.Identity` set for this request, for Gradio and for routes."""
    user: str | None = connection.scope.get("state", {}).get("user")
    return user
