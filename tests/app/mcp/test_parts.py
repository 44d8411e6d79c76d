"""The parts of MCP without a server: the tools, their arguments, short results, and waiting calls."""

from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidInput, Refused
from app.mcp import confirmations
from app.mcp.calls import check
from app.mcp.catalogue import OFFERS, Tool, tools_of
from app.mcp.confirmations import Confirmations
from app.mcp.shortening import MOST_POINTS, MOST_TEXT, shortened
from tests.web_server import rest_api

READ = [
    operation["get"]["operationId"]
    for operation in rest_api().openapi()["paths"].values()
    if "get" in operation
]
"""Every operation that only reads."""


@pytest.fixture(scope="module")
def tools() -> dict[str, Tool]:
    return tools_of(rest_api().openapi())


def test_every_offer_is_an_operation_with_a_text_and_a_closed_schema(tools: dict[str, Tool]) -> None:
    assert len(tools) == len(OFFERS)
    for tool in tools.values():
        assert tool.text, tool.name
        assert tool.schema["additionalProperties"] is False
        assert "#/components" not in str(tool.schema)
        reads = tool.method == "GET" or tool.name == "forecast_runs"  # has a body, but stores nothing
        assert reads is not tool.offer.changes, tool.name
        assert tool.offer.about in ("", *tools)


def test_nothing_deletes_votes_or_shows_names(tools: dict[str, Tool]) -> None:
    for tool in tools.values():
        assert tool.method in ("GET", "POST")
        assert "/names" not in tool.path
        assert not tool.path.endswith("/vote") or tool.method == "GET"


def test_what_can_be_read_can_be_read_by_a_tool() -> None:
    files = {name for name in READ if name.startswith("export_")}
    own = {"get_own_vote", "me", "health"}  # of the person, or of the server
    assert set(READ) - set(OFFERS) == files | own


def test_the_page_lists_every_tool(tools: dict[str, Tool]) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "mcp.md").read_text(encoding="utf-8")
    assert [name for name in tools if f"`{name}`" not in page] == []


def test_a_tool_takes_what_its_operation_takes(tools: dict[str, Tool]) -> None:
    clone = tools["clone_run"]
    assert (clone.in_path, clone.in_body, clone.needed) == (("run_id",), ("config", "name"), ("run_id",))
    assert tools["list_runs"].schema["properties"]["limit"]["default"] == 20
    assert "Method" in str(tools["list_runs"].schema["$defs"])
    with pytest.raises(InvalidInput, match="colour is not an argument of clone_run; it takes run_id, config"):
        check(clone, {"run_id": 1, "colour": "red"})
    with pytest.raises(InvalidInput, match="run_id is missing"):
        check(clone, {"run_id": None})


def test_long_texts_are_cut_and_long_series_are_thinned_alike() -> None:
    steps, values = list(range(1000)), [float(step) for step in range(1000)]
    answer = {"series": [{"steps": steps, "values": values}], "text": "x" * (MOST_TEXT + 1234)}
    short = shortened(answer)
    assert short["text"].endswith("x [1,234 more characters]")
    [series] = short["series"]
    assert len(series["steps"]) == MOST_POINTS
    assert (series["steps"][0], series["steps"][-1]) == (0, 999)
    assert series["values"] == [float(step) for step in series["steps"]]


def test_items_of_a_list_lose_the_fields_that_one_object_shows() -> None:
    page: dict[str, Any] = {"items": [{"id": 1, "config": {"beta": 0.1}}], "next": None}
    assert shortened(page, without=("config",)) == {"items": [{"id": 1}], "next": None}
    assert shortened({"config": 1}, without=("config",)) == {"config": 1}


def test_a_waiting_call_runs_once_for_its_user_and_not_after_ten_minutes() -> None:
    now = 0.0
    waiting = Confirmations(clock=lambda: now)
    first, late = (waiting.add("ann", "cancel_run", {"run_id": 1}) for _ in range(2))
    with pytest.raises(Refused, match="call the tool again"):
        waiting.take(first, "bob")
    assert waiting.take(first, "ann").arguments == {"run_id": 1}
    now = confirmations.LASTS_SECONDS + 1
    for used in (first, late, ""):
        with pytest.raises(Refused, match="ten minutes"):
            waiting.take(used, "ann")


def test_a_user_has_few_waiting_calls_and_pushes_out_nobody_elses() -> None:
    waiting = Confirmations()
    bobs = waiting.add("bob", "cancel_run", {})
    anns = [waiting.add("ann", "cancel_run", {}) for _ in range(confirmations.MOST_OF_A_USER + 1)]
    with pytest.raises(Refused):
        waiting.take(anns[0], "ann")
    waiting.take(anns[1], "ann")
    waiting.take(bobs, "bob")
