"""Campaigns through the API: start, list, follow, change, extend."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import labelling
from app.store import comparisons, names
from app.store.db import read_session, write_session
from tests.app import arena, campaign_setup
from tests.app.rest.conftest import ok, refused

AsUser = Callable[[str], dict[str, str]]
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


@pytest.fixture
def runs(api: TestClient) -> list[int]:
    """Two finished runs on one base model; the first one has an earlier checkpoint, with id 1."""
    with write_session() as session:
        dpo = arena.add_run(session, "dpo", steps=(5, 10))
        return [dpo.id, arena.add_run(session, "hypo").id]


def started(api: TestClient, runs: list[int], **given: Any) -> Any:
    wanted = {"run_ids": runs, "prompts": ["One?", "Two?"], **given}
    return ok(api.post("campaigns", json=wanted), 201)


def test_a_campaign_is_started_listed_and_read(api: TestClient, runs: list[int]) -> None:
    made = started(api, runs, prompts=["One?", MESSAGES], guidelines="Be *fair*.", samples=2, seed=3)
    assert made["name"] == "Reference / dpo run / hypo run"
    assert [who["name"] for who in made["contenders"]] == ["Reference", "dpo run", "hypo run"]
    assert (made["status"], made["owner"], made["guidelines"]) == ("open", "local", "Be *fair*.")
    assert "hypo worker" in made["note"]
    progress = made["progress"]
    assert (progress["prompts"], progress["answers"], progress["answered"]) == (2, 12, 0)
    assert progress["tasks"] == {"waiting": 12, "ready": 0, "identical": 0, "failed": 0}
    assert [(pair["votes"], pair["wanted"]) for pair in progress["pairs"]] == [(0, 4)] * 3
    campaign_setup.write_answers(made["id"])
    read = ok(api.get(f"campaigns/{made['id']}"))
    assert (read["progress"]["answered"], read["progress"]["tasks"]["ready"], read["note"]) == (12, 12, "")
    second = started(api, runs, name="Second")
    page = ok(api.get("campaigns", params={"limit": 1}))
    assert [found["id"] for found in page["items"]] == [second["id"]]
    following = ok(api.get("campaigns", params={"limit": 1, "cursor": page["next"]}))
    assert [found["id"] for found in following["items"]] == [made["id"]]
    assert following["next"] is None


def test_a_repeated_call_starts_one_campaign(api: TestClient, runs: list[int]) -> None:
    wanted = {"run_ids": runs, "prompts": ["One?"]}
    first = api.post("campaigns", json=wanted, headers={"Idempotency-Key": "k"})
    again = api.post("campaigns", json=wanted, headers={"Idempotency-Key": "k"})
    assert ok(first, 201) == ok(again, 201)
    assert len(ok(api.get("campaigns"))["items"]) == 1


def test_contenders_are_checkpoints_and_base_models(api: TestClient, runs: list[int]) -> None:
    made = started(api, runs[:1], checkpoint_ids=[1], include_reference=False, model="other")
    contenders = [(who["name"], who["base_model"]) for who in made["contenders"]]
    assert contenders == [("dpo run", "demo"), ("dpo run @ 5", "demo"), ("Reference", "other")]


def test_held_out_prompts_of_a_dataset(api: TestClient, runs: list[int]) -> None:
    with write_session() as session:
        dataset = arena.add_dataset(session, "chats", prompt=MESSAGES, held_out=1.0).id
    made = started(api, runs, prompts=[], dataset_id=dataset, count=5)
    assert made["progress"]["prompts"] == 1
    with read_session() as session:
        assert comparisons.get(1, session=session).question == "Why?"


@SQLITE
def test_a_file_of_answers_may_be_large(api: TestClient, runs: list[int]) -> None:
    rows = [{"prompt": "Why?", "answer": f"{number}" * 50_000} for number in range(10, 35)]
    made = started(api, runs[:1], prompts=[], answers=[{"name": "GPT-4", "rows": rows}])
    assert made["progress"]["prompts"] == 1
    said = refused(api.post("campaigns", content=b"x" * (33 << 20)), 413)
    assert said == "The body is larger than 32 MiB, the most that this address takes."


def test_answers_from_elsewhere_are_contenders(api: TestClient, runs: list[int]) -> None:
    rows = [{"prompt": "One?", "answer": "1"}, {"prompt": MESSAGES, "answer": "2"}]
    answers = [{"name": "GPT-4", "rows": rows}]
    made = started(api, runs[:1], prompts=[], answers=answers)
    assert [who["name"] for who in made["contenders"]] == ["Reference", "dpo run", "GPT-4"]
    assert (made["progress"]["prompts"], made["progress"]["answered"]) == (2, 2)
    assert "come from a file" in refused(
        api.post(f"campaigns/{made['id']}/prompts", json={"prompts": ["More?"]}), 409
    )
    wanted = {"run_ids": runs, "prompts": ["One?", "Two?"], "answers": answers}
    assert "“Two?”" in refused(api.post("campaigns", json=wanted), 422, field="answers")
    made = ok(api.post("campaigns", json={**wanted, "only_answered": True}), 201)
    assert made["progress"]["prompts"] == 1


@SQLITE
@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"run_ids": []}, "run_ids", "2 to 4 contenders, and this call names 0; change run_ids"),
        ({"run_ids": [1], "include_reference": False}, "run_ids", "names 1"),
        ({"run_ids": [1, 2, 1, 2]}, "run_ids", "names 5"),
        ({"endpoints": ["GPT"]}, "endpoints", "There is no endpoint GPT; HYPO_ENDPOINTS names none."),
        ({"prompts": []}, "prompts", "Give either prompts or dataset_id."),
        ({"dataset_id": 1}, "prompts", "Give either prompts or dataset_id."),
        ({"prompts": [""]}, "prompts", "Prompt 1 is empty."),
        ({"prompts": [MESSAGES[:1]]}, "prompts", "Prompt 1"),
        ({"prompts": [7]}, "prompts.0.messages", "list"),
        ({"prompts": [[{"role": "user"}]]}, "prompts.0.messages.0.content", "missing"),
        ({"prompts": ["x"] * 1001}, "prompts", "1,000"),
        ({"prompts": [f"{n}" for n in range(600)], "samples": 2}, "prompts", "1,000"),
        ({"votes_wanted": 51}, "votes_wanted", "50"),
        ({"samples": 0}, "samples", "1"),
        ({"voters": ["nobody"]}, "voters", "'nobody'"),
        ({"name": " "}, "name", "needs a name"),
        ({"form": "three"}, "form", "pairs"),
        ({"prompt": ["One?"]}, "prompt", "not a field of this call"),
    ],
)
def test_each_limit_names_its_field(
    api: TestClient, runs: list[int], given: dict[str, Any], field: str, sentence: str
) -> None:
    wanted = {"run_ids": runs, "prompts": ["One?"], **given}
    assert sentence in refused(api.post("campaigns", json=wanted), 422, field=field)
    assert ok(api.get("campaigns"))["items"] == []


@SQLITE
def test_unknown_ids_are_told(api: TestClient, runs: list[int]) -> None:
    wanted = {"run_ids": runs, "prompts": ["One?"]}
    refused(api.post("campaigns", json={**wanted, "run_ids": [99]}), 404)
    refused(api.post("campaigns", json={**wanted, "checkpoint_ids": [99]}), 404)
    refused(api.post("campaigns", json={**wanted, "prompts": [], "dataset_id": 99}), 404)
    for call in (api.get("campaigns/9"), api.patch("campaigns/9", json={"status": "paused"})):
        refused(call, 404)


def test_a_campaign_is_edited_paused_and_closed(api: TestClient, runs: list[int], as_user: AsUser) -> None:
    address = f"campaigns/{started(api, runs)['id']}"
    changed = ok(api.patch(address, json={"name": "New", "votes_wanted": 3, "status": "paused"}))
    assert (changed["name"], changed["votes_wanted"], changed["status"]) == ("New", 3, "paused")
    assert changed["progress"]["votes_wanted"] == 18
    assert ok(api.patch(address, json={"guidelines": "Short.", "ask_reason": True}))["name"] == "New"
    assert ok(api.patch(address, json={}))["guidelines"] == "Short."
    refused(api.patch(address, json={"votes_wanted": 0}), 422, field="votes_wanted")
    adas = f"campaigns/{campaign_setup.create(user='ada')}"
    sentence = refused(api.patch(adas, json={"status": "paused"}, headers=as_user("bob")), 409)
    assert "only its owner" in sentence
    assert ok(api.patch(address, json={"status": "closed"}))["status"] == "closed"
    assert "closed" in refused(api.patch(address, json={"status": "open"}), 409)


def test_prompts_are_added(api: TestClient, runs: list[int], as_user: AsUser) -> None:
    address = f"campaigns/{started(api, runs)['id']}"
    more = ok(api.post(f"{address}/prompts", json={"prompts": ["Three?"]}), 201)
    assert (more["progress"]["prompts"], more["progress"]["answers"]) == (3, 9)
    refused(api.post(f"{address}/prompts", json={}), 422, field="prompts")
    adas = f"campaigns/{campaign_setup.create(user='ada')}"
    refused(api.post(f"{adas}/prompts", json={"prompts": ["x"]}, headers=as_user("bob")), 409)


def test_names_are_shown_to_one_person(api: TestClient, runs: list[int], as_user: AsUser) -> None:
    made = started(api, runs)
    ok(api.post(f"campaigns/{made['id']}/names", headers=as_user("bob")))
    with read_session() as session:
        assert names.seen_in_campaign(made["id"], "bob", session=session)
        assert not names.seen_in_campaign(made["id"], "local", session=session)
    ok(api.post(f"campaigns/{made['id']}/prompts", json={"prompts": ["Three?"]}), 201)
    campaign_setup.write_answers(made["id"])
    left = {
        user: ok(api.post(f"campaigns/{made['id']}/slots", headers=as_user(user))) for user in ("bob", "eve")
    }
    assert [found["mine"]["left"] for found in left.values()] == [0, 9]


@SQLITE
def test_a_disagreement_is_read_decided_and_undone(api: TestClient, as_user: AsUser) -> None:
    campaign_id = campaign_setup.ready(prompts=["One?"], votes_wanted=2)
    for user, choice in (("ada", "tie"), ("bob", "both bad")):
        offer = labelling.take(campaign_id, user=user).offers[0]
        labelling.vote(offer.slot_id, choice, user=user, reason="So.")
    address = f"campaigns/{campaign_id}/disagreements"
    assert ok(api.get(address)) == [{"number": 1, "question": "One?", "votes": 2, "author": ""}]
    case = ok(api.get(f"{address}/1"))
    assert {vote["choice"] for vote in case["votes"]} == {"tie", "both bad"}
    assert [answer["letter"] for answer in case["answers"]] == ["A", "B"]
    assert not {"ada", "bob", "dpo"} & set(str(case).replace("'", " ").split())
    refused(api.put(f"{address}/1/verdict", json={"choice": "E"}), 422, field="choice")
    decided = ok(api.put(f"{address}/1/verdict", json={"choice": "B", "reason": "Clear."}))
    assert (decided["author"], decided["verdict"]["choice"], decided["verdict"]["reason"]) == (
        "local", "B", "Clear.",
    )  # fmt: skip
    rows = api.get("votes/export", params={"campaign_id": campaign_id, "adjudicated": True}).text.splitlines()
    assert len(rows) == 1
    ok(api.post(f"campaigns/{campaign_id}/names", headers=as_user("ada")))
    board = f"campaigns/{campaign_id}/board"
    assert ok(api.get(board, headers=as_user("ada"), params={"adjudicated": True}))["games"] == 1
    assert ok(api.get(board, headers=as_user("ada")))["games"] == 2
    made = {"name": "decided", "campaign_id": campaign_id, "adjudicated": True}
    assert ok(api.post("datasets/from-votes", json=made), 201)["rows"] == 1
    refused(api.get("votes/export", params={"adjudicated": True}), 422, field="adjudicated")
    ok(api.delete(f"{address}/1/verdict"), 204)
    refused(api.delete(f"{address}/1/verdict"), 404)
    refused(api.get(f"{address}/7"), 404)
