"""The user who makes a call: that of its bearer token, else of its session, else the local user."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from app.rest.errors import Unauthorized
from app.security.sessions import user_of
from app.settings import get_settings
from app.store import tokens, users
from app.store.db import read_session, write_session

bearer = HTTPBearer(
    auto_error=False,
    description="A token made with `hypo tokens create --user NAME`. Not needed without logins.",
)


def caller(request: Request) -> str:
    """The name of the user who makes a call.

    Raises:
        Unauthorized: for an invalid token or, if logins are configured, without a token or session.
    """
    given = request.headers.get("authorization")
    if given is not None:
        return user_of_header(given)
    user = user_of(request)
    if user is not None:
        return user
    if get_settings().logins():
        raise Unauthorized(
            "Send a token as `Authorization: Bearer TOKEN`; `hypo tokens create --user NAME` makes one."
        )
    return users.LOCAL


def user_of_header(given: str) -> str:
    """The user of an Authorization header. The token's last use is recorded at most once a minute.

    Raises:
        Unauthorized: for another scheme, for an unknown, expired or revoked token, and for the token of a
            user without a login.
    """
    scheme, _, secret = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("The Authorization header must be `Bearer TOKEN`.")
    with read_session() as session:
        known = tokens.find(secret.strip(), session=session)
    if known is None:
        raise Unauthorized("The token is unknown, expired or revoked; `hypo tokens create` makes a new one.")
    logins = [name for name, _ in get_settings().logins()]
    if logins and known.user not in logins:
        raise Unauthorized(f"The token is {known.user}'s, who has no login (HYPO_AUTH).")
    if known.use_is_old:
        with write_session() as session:
            tokens.note_use(known.id, session=session)
    return known.user


Caller = Annotated[str, Depends(caller)]
