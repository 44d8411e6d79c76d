"""Login and logout: a page without scripts, a session cookie, and a rate limit on wrong passwords."""

import secrets
import time
from collections import defaultdict, deque
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.i18n import _
from app.security.plain_page import plain_page
from app.security.sessions import COOKIE, read_user
from app.settings import get_settings
from app.store import sessions
from app.store.db import write_session
from app.templates import render

MOST_FAILURES: Final = 10
FAILURE_SECONDS: Final = 60.0

router = APIRouter()
_failures: defaultdict[str, deque[float]] = defaultdict(deque)


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:
    """Show the form, or redirect to the requested page if the user is logged in."""
    if read_user(request) is not None:
        return RedirectResponse(_local(next), status_code=303)
    return _page("", next)


@router.post("/login")
def log_in(
    request: Request,
    username: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Start a session and redirect to the requested page. Limits a client to ten failures per minute."""
    logins = dict(get_settings().logins())
    if not logins:
        return RedirectResponse("/", status_code=303)
    client = request.client.host if request.client else ""
    if _waits(client):
        return _page(_("Too many attempts. Wait a minute and try again."), next, status=429)
    name = username.strip()
    right = logins.get(name)
    matches = secrets.compare_digest((right or secrets.token_hex()).encode(), password.encode())
    if right is None or not matches:
        _failures[client].append(time.monotonic())
        return _page(_("This name and password do not match."), next, status=401)
    with write_session() as session:
        token = sessions.begin(name, session=session)
    response = RedirectResponse(_local(next), status_code=303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(sessions.LIFETIME.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End this browser's session."""
    token = request.cookies.get(COOKIE)
    if token:
        with write_session() as session:
            sessions.end(token, session=session)
    response = RedirectResponse("/login" if get_settings().logins() else "/", status_code=303)
    response.delete_cookie(COOKIE)
    return response


def _waits(client: str) -> bool:
    """Whether a client has failed too often in the last minute. Drops expired failures of all clients."""
    before = time.monotonic() - FAILURE_SECONDS
    for address in list(_failures):
        while _failures[address] and _failures[address][0] < before:
            _failures[address].popleft()
        if not _failures[address]:
            del _failures[address]
    return len(_failures.get(client, ())) >= MOST_FAILURES


def _local(address: str) -> str:
    """Sanitize a redirect target: an address outside this app becomes the front page.

    Browsers read `//name`, also with more slashes or backslashes, as another site, and ignore control
    characters.
    """
    local = address.startswith("/") and not address.startswith("//")
    return address if local and address.isprintable() and "\\" not in address else "/"


def _page(problem: str, next: str, *, status: int = 200) -> Response:
    form = render("security/login.html", problem=problem, next=_local(next))
    return plain_page(_("Log in"), form, status=status)
