"""Automatic judges through the API."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.settings import get_settings
from app.store import generations
from app.store.db import write_session
from app.store.enums import GenerationKind
from app.store.generations import TrainingSample
from tests.app import arena, campaign_setup
from tests.app.rest.conftest import ok, refused
from tests.app.test_judges import decide
from tests.endpoint_server import write_config

AsUser = Callable[[str], dict[str, str]]


@pytest.fixture
def campaign(api: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    entry = {"name": "GPT", "base_url": "https://x.example/v1", "model": "gpt-large"}
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", entry))
    get_settings.cache_clear()
    return campaign_setup.ready(prompts=[f"{at}?" for at in range(6)])


def test_a_judge_is_started_read_stopped_and_continued(api: TestClient, campaign: int) -> None:
    address = f"campaigns/{campaign}/judges"
    for _ in range(2):
        made = ok(api.post(address, json={"endpoint": "GPT"}, headers={"Idempotency-Key": "k"}), 201)
    assert (made["id"], made["verdicts"]["queued"], made["cost"]) == (1, 6, 0.0)
    assert "hypo worker --queues endpoints" in made["note"]
    assert ok(api.post("judges/1/stop"))["verdicts"]["stopped"] == 6
    assert ok(api.post("judges/1/resume"))["verdicts"]["queued"] == 6
    decide(1)
    assert [found["verdicts"]["judged"] for found in ok(api.get(address))] == [6]
    assert ok(api.get("judges/1"))["with_people"]["rate"] is None


def test_names_wait_for_those_who_asked_for_them(api: TestClient, campaign: int, as_user: AsUser) -> None:
    ok(api.post(f"campaigns/{campaign}/judges", json={"endpoint": "GPT"}), 201)
    decide(1)
    for address in ("judges/1/board", "judges/1/board.csv", "judges/1/verdicts"):
        assert "still hidden" in refused(api.get(address), 409)
    ok(api.post("comparisons/2/names", headers=as_user("bob")))  # the others may still be judged
    for address in ("judges/1/board", "judges/1/board.csv", "judges/1/verdicts"):
        assert "still hidden" in refused(api.get(address, headers=as_user("bob")), 409)
    ok(api.post(f"campaigns/{campaign}/names", headers=as_user("bob")))
    board = ok(api.get("judges/1/board", headers=as_user("bob")))
    assert [model["name"] for model in board["models"]] == ["Reference", "dpo run"]
    table = api.get("judges/1/board.csv", headers=as_user("bob"))
    assert "judge-1-ranking.csv" in table.headers["content-disposition"]
    assert len(table.text.splitlines()) == 3
    first = ok(api.get("judges/1/verdicts", params={"limit": 4}, headers=as_user("bob")))
    rest = ok(api.get("judges/1/verdicts", params={"cursor": first["next"]}, headers=as_user("bob")))
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (4, 2, None)
    assert first["items"][0]["forward"] == "Verdict: A"
    assert (first["items"][0]["first"], first["items"][0]["outcome"]) == ("Reference", "first")


def test_what_cannot_be_judged_is_told(api: TestClient, campaign: int) -> None:
    address = f"campaigns/{campaign}/judges"
    refused(api.post(address, json={"endpoint": "X"}), 422, field="endpoint")
    refused(api.post(address, json={"endpoint": "GPT", "template": "x"}), 422, field="template")
    refused(api.post(address, json={}), 422, field="endpoint")
    long = refused(api.post(address, json={"scorer": "x" * 201}), 422, field="scorer")
    assert long == "scorer has more than 200 characters; shorten it."
    refused(api.post("campaigns/99/judges", json={"endpoint": "GPT"}), 404)
    for call in (api.get("judges/99"), api.post("judges/99/stop"), api.get("judges/99/board")):
        refused(call, 404)


def test_a_run_has_judges_of_its_evaluations(api: TestClient) -> None:
    with write_session() as session:
        arena.add_dataset(session, "posts")
    body = {"method": "dpo,reward", "dataset": "posts", "config": {"max_steps": 3}, "judge": "length"}
    dpo, reward = (run["id"] for run in ok(api.post("runs", json=body), 201)["runs"])
    assert [(one["name"], one["run_id"]) for one in ok(api.get(f"runs/{dpo}/judges"))] == [("length", dpo)]
    assert ok(api.get(f"runs/{reward}/judges")) == []
    with write_session() as session:
        for step, text in ((0, "one"), (2, "one two")):
            sample = TrainingSample(GenerationKind.EVAL, step, "Q?", text, 1, 2, True, -1.0, -1.0)
            generations.record_samples(dpo, [sample], session=session)
    address = f"runs/{dpo}/judges"
    for _ in range(2):
        made = ok(api.post(address, json={"scorer": "vader"}, headers={"Idempotency-Key": "k"}), 201)
    assert (made["campaign_id"], made["verdicts"]["queued"]) == (None, 1)
    assert "has the name vader already" in refused(api.post(address, json={"scorer": "vader"}), 409)
    (item,) = ok(api.get(f"judges/{made['id']}/samples"))["items"]
    assert (item["step"], item["question"], item["status"], item["outcome"]) == (2, "Q?", "queued", None)
    assert "on the run's charts" in refused(api.get(f"judges/{made['id']}/verdicts"), 409)
    assert "writes no answers" in refused(api.post(f"runs/{reward}/judges", json={"scorer": "vader"}), 409)
    ok(api.delete(f"judges/{made['id']}"), 204)
    refused(api.get(f"judges/{made['id']}"), 404)
    body["judge"] = "endpoint:X"
    assert "There is no endpoint X" in refused(api.post("runs", json=body), 422, field="judge")
