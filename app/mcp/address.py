"""MCP over HTTP, at /mcp: authenticates each request like the REST API, and starts the server on the first.

The middleware of `app.security` comes first. Importing the library takes seconds, so the app starts
without it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskGroup, TaskStatus
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.rest.caller import caller
from app.rest.errors import MOST_BODY_BYTES, Unauthorized, problem
from app.settings import get_settings

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

ADDRESS: Final = "/mcp"
METHODS: Final = ("GET", "POST", "DELETE")
MOST_SESSIONS: Final = 500
SESSION_SECONDS: Final = 1800.0
"""Sessions of older protocol versions end after this time without a request."""


class Endpoint:
    """The ASGI application at /mcp."""

    def __init__(self, api: FastAPI) -> None:
        self._api = api
        self._tasks: TaskGroup | None = None
        self._manager: StreamableHTTPSessionManager | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve while the app runs."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = self._manager = None
                tasks.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            user = await run_in_threadpool(caller, request)
        except Unauthorized as error:
            await problem(401, str(error))(scope, receive, send)
            return
        except SQLAlchemyError:
            await problem(503, "The database does not answer; try again in a moment.")(scope, receive, send)
            return
        if refusal := _refusal(request):
            await refusal(scope, receive, send)
            return
        manager = await self._started()
        if manager is None:
            await problem(503, "The app is starting or stopping; try again.")(scope, receive, send)
            return
        from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
        from mcp.server.auth.provider import AccessToken

        owner = AuthenticatedUser(AccessToken(token="", client_id=user, scopes=[]))  # of a session
        state = {**scope.get("state", {}), "user": user}
        await manager.handle_request({**scope, "user": owner, "state": state}, receive, send)

    async def _started(self) -> "StreamableHTTPSessionManager | None":
        async with self._starting:
            if self._manager is None and self._tasks is not None:
                made = await run_in_threadpool(_manager, self._api)
                await self._tasks.start(_run, made)
                self._manager = made
        return self._manager


async def _run(manager: "StreamableHTTPSessionManager", *, task_status: TaskStatus[None]) -> None:
    async with manager.run():
        task_status.started()
        await anyio.sleep_forever()


def _manager(api: FastAPI) -> "StreamableHTTPSessionManager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from app.mcp.server import build

    return StreamableHTTPSessionManager(
        build(api, confirm=get_settings().mcp_confirm, user_of=_user_of),
        max_request_body_size=MOST_BODY_BYTES,
        max_sessions=MOST_SESSIONS,
        session_idle_timeout=SESSION_SECONDS,
    )


def _user_of(ctx: Any) -> str:
    """The user that `Endpoint` found for the request of a call."""
    return str(ctx.request.scope["state"]["user"])


def _refusal(request: Request) -> Response | None:
    """The response to requests that the library need not see: no stream without a call, no large body."""
    if request.method in ("GET", "HEAD"):
        return problem(405, "Send MCP requests by POST; there is no stream to listen to.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MOST_BODY_BYTES:
        return problem(413, f"The body is larger than {MOST_BODY_BYTES // 2**20} MiB.")
    return None
