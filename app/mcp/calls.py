"""Calls of tools: requests to the REST API inside the process, made as the caller's user."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import AppError, InvalidInput
from app.mcp.catalogue import DEFAULT_ITEMS, Tool
from app.text import clean_text

SECONDS: Final = 120.0
"""Longest call; the longest wait that an operation offers is a minute."""


class Failed(AppError):
    """The API did not do what a tool asked; the message is the API's."""


async def call(api: ASGIApp, tool: Tool, arguments: Mapping[str, Any], *, user: str) -> Any:
    """Call a tool's operation and return its answer as JSON values.

    Raises:
        InvalidInput: arguments that the tool does not take, or that do not fit into an address.
        Failed: the API's refusal, in its words.
    """
    check(tool, arguments)
    query = {name: _in_query(name, arguments[name]) for name in tool.in_query if name in arguments}
    if "limit" in tool.in_query:
        query.setdefault("limit", str(DEFAULT_ITEMS))
    transport = httpx.ASGITransport(_as_user(api, user), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=SECONDS) as client:
        response = await client.request(
            tool.method,
            _address(tool, arguments),
            params={name: value for name, value in query.items() if value is not None},
            content=_body(tool, arguments),
            headers={"Content-Type": "application/json"},
        )
    if response.is_success:
        return response.json() if response.content else None
    raise Failed(_message(response))


def check(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Check the names of a call's arguments.

    Raises:
        InvalidInput: an argument is missing or unknown.
    """
    known = tool.schema["properties"]
    for name in arguments:
        if name not in known:
            takes = ", ".join(known) or "nothing"
            raise InvalidInput(f"{name[:100]} is not an argument of {tool.name}; it takes {takes}.")
    for name in tool.needed:
        if arguments.get(name) is None:
            raise InvalidInput(f"{name} is missing.", field=name)


def _address(tool: Tool, arguments: Mapping[str, Any]) -> str:
    parts = {name: quote(_in_path(name, arguments[name]), safe="") for name in tool.in_path}
    return tool.path.format_map(parts)


def _in_path(name: str, value: Any) -> str:
    """An argument as a part of an address.

    Raises:
        InvalidInput: it is no number or text, or would change the address.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidInput(f"{name} must be a number or a text.", field=name)
    text = clean_text(str(int(value) if isinstance(value, float) and value.is_integer() else value))
    if "/" in text or text in ("", ".", ".."):
        raise InvalidInput(
            f"{name} must not be empty, dots only, or contain a slash; give the id.", field=name
        )
    return text


def _in_query(name: str, value: Any) -> str | list[str] | None:
    if isinstance(value, list):
        return [text for one in value if isinstance(text := _in_query(name, one), str)]
    if isinstance(value, dict):
        raise InvalidInput(f"{name} must be a number, a text or a list of these.", field=name)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else clean_text(str(value))


def _body(tool: Tool, arguments: Mapping[str, Any]) -> bytes | None:
    if not tool.in_body:
        return None
    try:
        return json.dumps({name: arguments[name] for name in tool.in_body if name in arguments}).encode()
    except RecursionError:
        raise InvalidInput("The arguments are nested too deeply.") from None


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"The app answered {response.status_code}; its log says why."


def _as_user(api: ASGIApp, user: str) -> ASGIApp:
    """The API for requests that the MCP server has authenticated."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        await api({**scope, "state": {"user": user}}, receive, send)

    return called
