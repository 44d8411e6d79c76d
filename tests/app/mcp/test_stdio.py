"""`hypo mcp`, started as an assistant starts it."""

import os
import sys

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from app import migrate
from app.settings import Settings
from app.store.db import write_session
from tests.app import arena
from tests.app.mcp.conftest import ok, refused

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_local_client_reads_and_launches(settings: Settings) -> None:
    migrate.upgrade()
    with write_session() as session:
        arena.add_dataset(session, "posts")
    code = "from app.cli import main; main()"
    command = StdioServerParameters(
        command=sys.executable, args=["-c", code, "mcp", "--no-confirm"], env=dict(os.environ)
    )
    async with Client(command) as client:
        assert "confirm" not in {tool.name for tool in (await client.list_tools()).tools}
        [dataset] = ok(await client.call_tool("list_datasets"))["items"]
        assert dataset["name"] == "posts"
        given = {"method": "twins", "dataset": "posts", "config": {"max_steps": 3}}
        launched = ok(await client.call_tool("launch_runs", given))
        assert [run["method"] for run in launched["runs"]] == ["dpo", "hypo"]
        assert "hypo worker" in launched["note"]
        assert "There is no run 7" in refused(await client.call_tool("cancel_run", {"run_id": 7}))
