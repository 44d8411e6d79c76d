"""Require a login for everything except the login page, its resources and the health check.

Requests for the REST API and for MCP pass without a user too: both check bearer tokens and refuse
unauthenticated requests themselves.
"""

from collections.abc import Container
from typing import Final
from urllib.parse import urlencode

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.replies import refuse
from app.security.sessions import identify

API: Final = "/api/v1/"
MCP: Final = "/mcp"
PUBLIC: Final = frozenset({"/login", "/healthz", "/favicon.ico", "/robots.txt"})


class Identity:
    """Sets `request.state.user` to the user. Without a user, only PUBLIC paths, the API and MCP pass."""

    def __init__(self, app: ASGIApp, pages: Container[str]) -> None:
        self.app = app
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PUBLIC:
            await self.app(scope, receive, send)
            return
        try:
            user = await identify(HTTPConnection(scope))
        except SQLAlchemyError:
            sentence = "The database does not answer, so logins cannot be checked; try again in a moment."
            await refuse(503, sentence, scope, receive, send)
            return
        if user is not None:
            scope.setdefault("state", {})["user"] = user
        opened = scope["method"] == "GET" and scope["path"] in self.pages
        if user is not None or with_token(scope) or (for_programs(scope) and not opened):
            await self.app(scope, receive, send)
        elif opened:
            response = RedirectResponse(f"/login?{urlencode({'next': _address(scope)})}", status_code=303)
            await response(scope, receive, send)
        else:
            await refuse(401, "Log in first.", scope, receive, send)


def for_programs(scope: Scope) -> bool:
    """Whether a request is for the REST API or for MCP."""
    return scope["path"] == MCP or str(scope["path"]).startswith(API)


def with_token(scope: Scope) -> bool:
    """Whether a request for programs has an Authorization header, which its receiver checks."""
    return for_programs(scope) and "authorization" in Headers(scope=scope)


def _address(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])
