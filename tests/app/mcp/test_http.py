"""MCP over HTTP: the MCP library's client against the whole web app, in both eras of the protocol."""

from typing import Any

import httpx
import pytest
from mcp.types import ElicitRequestParams, ElicitResult

from app.rest.errors import MOST_BODY_BYTES
from app.store.db import write_session
from tests.app import arena
from tests.app.mcp.conftest import Connect, ok, refused, token_of

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
LAUNCH: dict[str, Any] = {"method": "dpo", "dataset": "posts", "config": {"max_steps": 3}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Person:
    """A person who answers every question in the same way, and remembers the questions."""

    def __init__(self, action: Any) -> None:
        self.action = action
        self.asked: list[str] = []

    async def __call__(self, _ctx: Any, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action=self.action, content={} if self.action == "accept" else None)


@ERAS
async def test_reading_needs_no_consent_and_errors_are_one_sentence(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "confirm" in tools
        assert not [name for name in tools if "delete" in name]
        for name in ("list_runs", "get_board", "list_datasets"):
            annotations = tools[name].annotations
            assert annotations is not None
            assert annotations.read_only_hint
        [dataset] = ok(await client.call_tool("list_datasets", {"name": "posts"}))["items"]
        assert (dataset["name"], dataset["version"]) == ("posts", 1)
        assert "account" not in dataset
        assert "account" in ok(await client.call_tool("get_dataset", {"dataset": "posts"}))
        for name, arguments, said in (
            ("get_run", {"run_id": 999}, "There is no run 999"),
            ("get_run", {}, "run_id is missing."),
            ("get_run", {"run_id": "1/cancel"}, "run_id must not be empty"),
            ("get_run", {"run_id": {"a": 1}}, "run_id must be a number or a text."),
            ("list_runs", {"status": "asleep"}, "status: must be one of 'queued'"),
            ("list_runs", {"limit": 0}, "limit: must be at least 1."),
            ("list_runs", {"colour": "red"}, "colour is not an argument of list_runs"),
            ("delete_run", {"run_id": 1}, "There is no tool delete_run"),
        ):
            sentence = refused(await client.call_tool(name, arguments))
            assert said in sentence
            assert "\n" not in sentence


@ERAS
async def test_a_person_is_asked_before_something_changes(connect: Connect, mode: str) -> None:
    person = Person("accept")
    async with connect(mode=mode, elicitation_callback=person) as client:
        assert "confirm" not in {tool.name for tool in (await client.list_tools()).tools}
        [run] = ok(await client.call_tool("launch_runs", LAUNCH))["runs"]
        assert (run["status"], run["config"]["max_steps"]) == ("queued", 3)
        [asked] = person.asked
        assert "Queue a training run" in asked
        assert "name posts" in asked
        assert '"max_steps":3' in asked
        person.action = "decline"
        assert "did not agree" in refused(await client.call_tool("cancel_run", {"run_id": run["id"]}))
        assert f"id {run['id']}" in person.asked[-1]
        assert ok(await client.call_tool("get_run", {"run_id": run["id"]}))["status"] == "queued"
        assert "There is no run" in refused(await client.call_tool("cancel_run", {"run_id": 999}))
        assert "nope" in refused(await client.call_tool("launch_runs", {**LAUNCH, "nope": 1}))
        assert len(person.asked) == 2


@ERAS
async def test_without_elicitation_a_call_takes_two_steps(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        before = len(ok(await client.call_tool("list_runs"))["items"])
        announced = ok(await client.call_tool("launch_runs", LAUNCH))
        assert announced["done"] == "nothing yet"
        assert len(ok(await client.call_tool("list_runs"))["items"]) == before
        given = {"confirmation_id": announced["confirmation_id"]}
        async with connect("bob", mode=mode) as bobs:
            assert "not known" in refused(await bobs.call_tool("confirm", given))
        [run] = ok(await client.call_tool("confirm", given))["runs"]
        assert run["status"] == "queued"
        assert "used already" in refused(await client.call_tool("confirm", given))
        assert "not known" in refused(await client.call_tool("confirm"))


async def test_consent_to_one_call_is_no_consent_to_another(connect: Connect) -> None:
    async with connect(elicitation_callback=Person("accept")) as client:
        first = await client.session.call_tool("launch_runs", LAUNCH, allow_input_required=True)
        state = first.request_state  # type: ignore[union-attr]
        answers: Any = {"consent": ElicitResult(action="accept", content={})}
        other = {**LAUNCH, "config": {"max_steps": 9}}
        changed = await client.session.call_tool(
            "launch_runs", other, input_responses=answers, request_state=state
        )
        assert "for another call" in refused(changed)


async def test_names_that_a_person_may_not_see_yet_are_hidden(connect: Connect) -> None:
    with write_session() as session:
        comparison_id = arena.asked(session, blind=True, user="bob").id
    async with connect() as client:
        shown = ok(await client.call_tool("get_comparison", {"comparison_id": comparison_id}))
    assert shown["names_hidden"]
    assert [answer["name"] for answer in shown["answers"]] == [None, None]


async def test_every_request_needs_a_token_of_its_own(address: str) -> None:
    start = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    start["params"] = {  # type: ignore[assignment]
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    accepted = {"Accept": "application/json, text/event-stream"}
    ann, bob = ({**accepted, "Authorization": f"Bearer {token_of(user)}"} for user in ("ann", "bob"))
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    async with httpx.AsyncClient(base_url=address) as http:

        async def post(body: Any, headers: dict[str, str]) -> httpx.Response:
            return await http.post("/mcp", json=body, headers=headers)

        for headers in (accepted, {**accepted, "Authorization": "Bearer wrong"}):
            answer = await post(start, headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "token" in answer.json()["message"]
        assert (await post(start, {**accepted, **foreign})).status_code == 403
        assert (await post(start, {**ann, "Host": "evil.example"})).status_code == 421
        assert (await http.get("/mcp", headers=ann)).status_code == 405
        large = await http.post("/mcp", content=b" " * (MOST_BODY_BYTES + 1), headers=ann)
        assert (large.status_code, large.json()["error"]) == (413, "too_large")
        opened = await post(start, ann)
        assert opened.status_code == 200
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        assert (await post(start, {**bob, **session})).status_code == 404
        ended = await http.delete("/mcp", headers={**ann, **session})
        assert ended.status_code == 200
