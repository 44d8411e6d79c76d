"""`hypo mcp`: serve the MCP tools to a program on this machine, over its standard input and output."""

from typing import Annotated

import typer

from app.settings import get_settings
from app.store import users


def mcp(
    confirm: Annotated[
        bool | None,
        typer.Option(
            help="Ask a person before a tool changes something; by default HYPO_MCP_CONFIRM, or yes."
        ),
    ] = None,
) -> None:
    """Serve MCP tools over standard input and output, for an assistant that starts this command."""
    import anyio

    from app.mcp.stdio import serve

    settings = get_settings()
    anyio.run(serve, users.LOCAL, settings.mcp_confirm if confirm is None else confirm)
