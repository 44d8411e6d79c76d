"""MCP over standard input and output, for `hypo mcp`."""

from mcp.server.stdio import stdio_server

from app.mcp.server import build
from app.rest import application as rest
from app.settings import get_settings


async def serve(user: str, confirm: bool) -> None:
    """Serve one client until it closes standard input.

    Args:
        user: who makes all calls.
        confirm: as in `app.mcp.server.Tools`.
    """
    server = build(rest.build(get_settings()), confirm=confirm, user_of=lambda _ctx: user)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
