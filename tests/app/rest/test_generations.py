"""The API's search of generations, and the comparison of two."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.store import generations
from app.store.db import write_session
from app.store.enums import GenerationKind
from app.store.generations import TrainingSample
from tests.app import arena
from tests.app.rest.conftest import ok, refused
from tests.app.store.test_generation_search import blind_chat

SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def stored() -> int:
    """A run with five probe answers."""
    with write_session() as session:
        run = arena.add_run(session, "hypo", name="walnut", steps=(10,))
        made = [
            TrainingSample(
                GenerationKind.PROBE, step, "Why?", f"text {step}", 1, 2, True, -1.0, -1.5 - step, 0.5
            )
            for step in (0, 5, 10)
        ]
        generations.record_samples(run.id, made, session=session)
        return run.id


@SQLITE
def test_search_page_by_page(api: TestClient) -> None:
    run_id = stored()
    query: dict[str, Any] = {"text": "text", "run": run_id, "sort": "log_ratio", "limit": 2, "prompt": "why"}
    first = ok(api.get("generations", params=query))
    rest = ok(api.get("generations", params={**query, "cursor": first["next"]}))
    assert [one["step"] for one in first["items"] + rest["items"]] == [10, 5, 0]
    assert rest["next"] is None
    one = ok(api.get(f"generations/{first['items'][0]['id']}"))
    assert one == first["items"][0]
    assert (one["origin"], one["name"], one["method"], one["run_id"]) == ("run", "walnut", "hypo", run_id)
    assert (one["log_ratio"], one["token_log_ratio"], one["score"]) == (10.5, 5.25, 0.5)
    assert one["parameters"]["temperature"] == 0.0


@SQLITE
@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("text=%F0%9F%99%82", 422, "text"),
        ("prompt=-x", 422, "prompt"),
        ("first_step=9&last_step=2", 422, "steps"),
        ("cursor=x", 422, "cursor"),
        ("sort=tokens&cursor=1.5_3", 422, "cursor"),
        ("kind=all", 422, "kind.0"),
        ("sort=id", 422, "sort"),
        (f"run={2**31}", 422, "run.0"),
    ],
)
def test_bad_queries(api: TestClient, query: str, status: int, field: str) -> None:
    refused(api.get(f"generations?{query}"), status, field=field)


@SQLITE
def test_two_answers_become_a_comparison(api: TestClient) -> None:
    stored()
    ids = [one["id"] for one in ok(api.get("generations"))["items"]]
    made = ok(api.post("generations/comparisons", json={"generations": ids[:2]}), 201)
    assert made["votable"]
    assert not made["names_hidden"]
    assert {answer["name"] for answer in made["answers"]} == {"walnut", "walnut @ 5"}
    refused(
        api.post("generations/comparisons", json={"generations": [ids[0], ids[0]]}), 422, field="generations"
    )
    refused(api.get("generations/99"), 404)


@SQLITE
def test_a_hidden_answer_tells_nothing(api: TestClient) -> None:
    with write_session() as session:
        comparison = blind_chat(session, user="local")
        answer = arena.comparisons.answers(comparison.id, session=session)[0]
    assert ok(api.get("generations"))["items"] == []
    one = ok(api.get(f"generations/{answer.id}"))
    told = (
        "run_id",
        "step",
        "name",
        "method",
        "checkpoint_id",
        "tokens",
        "seconds",
        "policy_logp",
        "log_ratio",
    )
    assert one["names_hidden"]
    assert [one[key] for key in (*told, "reference_logp", "token_log_ratio", "score", "parameters")] == [
        None
    ] * 13
