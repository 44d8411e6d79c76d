"""The whole web app with two logins on a port, and the MCP library's client."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import CallToolResult, TextContent

from app import migrate
from app.settings import get_settings
from app.store import tokens
from app.store.db import write_session
from tests.app import arena
from tests.web_server import served_app

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the app, with a dataset named `posts`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPO_HOME", str(tmp_path_factory.mktemp("mcp")))
        patch.setenv("HYPO_AUTH", "ann:a,bob:b")
        get_settings.cache_clear()
        migrate.upgrade()
        with write_session() as session:
            arena.add_dataset(session, "posts")
        with served_app() as found:
            yield found
        get_settings.cache_clear()


def token_of(user: str) -> str:
    """A new token of a user."""
    with write_session() as session:
        return tokens.create(user, session=session)[1]


@pytest.fixture
def connect(address: str) -> Connect:
    """A client of the app for a user, in either era of the protocol."""

    @asynccontextmanager
    async def connected(user: str = "ann", **options: Any) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token_of(user)}"}
        async with create_mcp_http_client(headers) as http:
            transport = streamable_http_client(f"{address}/mcp", http_client=http)
            async with Client(transport, **options) as client:
                yield client

    return connected


def text_of(result: Any) -> str:
    """The text of a result."""
    assert isinstance(result, CallToolResult)
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def ok(result: Any) -> Any:
    """The JSON of a result that is no error."""
    assert not result.is_error, text_of(result)
    return json.loads(text_of(result))


def refused(result: Any) -> str:
    """The sentence of a result that is an error."""
    assert result.is_error
    return text_of(result)
