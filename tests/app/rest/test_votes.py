"""Comparisons and votes through the API: asked, answered, one vote per user."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.rest.schemas.comparisons import AnswerShown, ComparisonShown
from app.rest.schemas.votes import VoteShown
from app.store import comparisons, label_queries, labels, workers
from app.store.db import read_session, write_session
from app.views import vote_view
from tests.app import arena
from tests.app.rest.conftest import ok, refused
from tests.app.store.concurrently import concurrently

AsUser = Callable[[str], dict[str, str]]
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def vote(api: TestClient, comparison_id: int, choice: str = "A", **given: Any) -> Any:
    headers = given.pop("headers", {})
    return api.put(f"comparisons/{comparison_id}/vote", json={"choice": choice, **given}, headers=headers)


def write_answers(comparison_id: int, *texts: str) -> None:
    with write_session() as session:
        comparison = comparisons.get(comparison_id, session=session)
        arena.answer(session, comparison, texts)


def test_ask_read_and_vote(api: TestClient) -> None:
    with write_session() as session:
        run = arena.add_run(session, "hypo")
    asked = ok(api.post("comparisons", json={"prompt": "Why?", "run_ids": [run.id], "blind": False}), 201)
    assert [answer["name"] for answer in asked["answers"]] == ["Reference", "hypo run"]
    assert (asked["over"], "hypo worker" in asked["note"]) == (False, True)
    number = asked["comparison_id"]
    refused(vote(api, number), 409)
    write_answers(number, "because", "therefore")
    present = ok(api.get(f"comparisons/{number}?wait=5"))
    assert (present["over"], [a["text"] for a in present["answers"]]) == (True, ["because", "therefore"])
    voted = ok(vote(api, number, "B", reason="shorter"))
    assert (voted["best_letter"], voted["user"], voted["reason"]) == ("B", "local", "shorter")
    stored = ok(api.get(f"votes/{voted['id']}"))
    assert stored == ok(api.get(f"comparisons/{number}/vote"))
    assert (stored["best"], stored["worst"]) == ("hypo run", "Reference")
    assert {name: stored[name] for name in voted} == voted
    (listed,) = ok(api.get("votes"))["items"]
    assert listed == stored


@SQLITE
def test_a_conversation_goes_on(api: TestClient) -> None:
    first = ok(api.post("comparisons", json={"prompt": "Why?", "blind": False, "model": "demo"}), 201)
    number, talk = first["comparison_id"], first["conversation_id"]
    refused(api.post(f"conversations/{talk}/comparisons", json={"prompt": "And?"}), 409)
    stopped = ok(api.post(f"comparisons/{number}/stop"))
    assert stopped["over"]
    again = ok(api.post(f"comparisons/{number}/answers/A/regenerate"))
    assert not again["over"]
    assert ok(api.post(f"comparisons/{number}/answers/A/stop"))["over"]
    ok(api.post(f"comparisons/{number}/answers/A/regenerate"))
    write_answers(number, "because")
    following = ok(
        api.post(f"conversations/{talk}/comparisons", json={"prompt": "And?", "continues_from": "A"}), 201
    )
    assert ok(api.get(f"conversations/{talk}"))["comparison_ids"] == [number, following["comparison_id"]]
    assert [c["id"] for c in ok(api.get("conversations"))["items"]] == [talk]


@SQLITE
def test_people_list_their_own_conversations(api: TestClient, as_user: AsUser) -> None:
    ok(api.post("comparisons", json={"prompt": "Why?"}, headers=as_user("ada")), 201)
    assert ok(api.get("conversations"))["items"] == []
    assert len(ok(api.get("conversations", headers=as_user("ada")))["items"]) == 1


def test_a_person_has_one_vote_which_may_change_and_go(api: TestClient, as_user: AsUser) -> None:
    with write_session() as session:
        number = arena.asked(session).id
    ada, bob = as_user("ada"), as_user("bob")
    first = ok(vote(api, number, "A", headers=ada))
    assert ok(vote(api, number, "A", headers=ada))["id"] == first["id"]
    changed = ok(vote(api, number, "tie", headers=ada))
    assert (changed["id"], changed["choice"], changed["best_letter"]) == (first["id"], "tie", None)
    others = ok(vote(api, number, "both bad", headers=bob))
    assert [v["id"] for v in ok(api.get("votes"))["items"]] == [others["id"], first["id"]]
    assert [v["user"] for v in ok(api.get("votes?user=ada"))["items"]] == ["ada"]
    assert [v["user"] for v in ok(api.get("votes?choice=all_bad"))["items"]] == ["bob"]
    assert "bob" in refused(api.delete(f"votes/{others['id']}", headers=ada), 409)
    assert api.delete(f"comparisons/{number}/vote", headers=ada).status_code == 204
    assert "no vote" in refused(api.delete(f"comparisons/{number}/vote", headers=ada), 404)
    assert api.delete(f"votes/{others['id']}", headers=bob).status_code == 204
    assert ok(api.get("votes"))["items"] == []


def test_a_repeated_vote_does_not_undo_a_later_one(api: TestClient) -> None:
    with write_session() as session:
        number = arena.asked(session).id
    key = {"Idempotency-Key": "first"}
    first = vote(api, number, "A", headers=key)
    assert ok(vote(api, number, "B"))["best_letter"] == "B"
    late = vote(api, number, "A", headers=key)
    assert ok(late) == ok(first)
    assert late.headers["Idempotent-Replayed"] == "true"
    assert ok(api.get(f"comparisons/{number}/vote"))["best"] == "dpo run"
    other = vote(api, number, "tie", headers=key)
    assert "another request" in refused(other, 422, field="Idempotency-Key")


def test_the_same_vote_sent_many_times_at_once_is_one(api: TestClient, as_user: AsUser) -> None:
    with write_session() as session:
        number = arena.asked(session).id
    users = [as_user(f"user{number}") for number in range(3)]

    def send(place: int) -> int:
        return int(ok(vote(api, number, "A", headers=users[place % 3]))["id"])

    assert len(set(concurrently(send, times=12))) == 3
    with read_session() as session:
        assert len(label_queries.votes(session=session)) == 3


@SQLITE
@pytest.mark.parametrize(
    ("path", "body"),
    [("runs", {"method": "dpo", "dataset": "missing"}), ("comparisons", {"prompt": " "})],
)
def test_a_call_that_failed_may_be_tried_again_with_its_key(
    api: TestClient, path: str, body: dict[str, Any]
) -> None:
    key = {"Idempotency-Key": "k"}
    first = api.post(path, json=body, headers=key)
    assert first.status_code in (404, 422)
    assert api.post(path, json=body, headers=key).json() == first.json()


@SQLITE
def test_a_body_nested_too_deep_for_its_key_is_refused(api: TestClient) -> None:
    body = '{"method": "dpo", "dataset": "posts", "config": {"beta": ' + "[" * 400 + "]" * 400 + "}}"
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    assert "too deep" in refused(api.post("runs", content=body, headers=headers), 422, field="body")


@SQLITE
def test_a_repeated_question_is_asked_once(api: TestClient) -> None:
    key = {"Idempotency-Key": "k"}
    asked = [ok(api.post("comparisons", json={"prompt": "Why?"}, headers=key), 201) for _ in range(3)]
    assert len({answer["comparison_id"] for answer in asked}) == 1
    with read_session() as session:
        assert comparisons.count(session=session) == 1


@SQLITE
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"choice": "E"}, "choice"),
        ({"choice": ""}, "choice"),
        ({"choice": "A", "worst": "A"}, "worst"),
        ({"choice": "A", "reason": "x" * 4001}, "reason"),
        ({"choice": "A", "seconds": -1}, "seconds"),
        ({}, "choice"),
    ],
)
def test_a_vote_in_bad_words_is_refused_by_field(api: TestClient, given: dict[str, Any], field: str) -> None:
    with write_session() as session:
        number = arena.asked(session).id
    refused(api.put(f"comparisons/{number}/vote", json=given), 422, field=field)
    refused(api.get(f"comparisons/{number}/vote"), 404)


def test_text_that_no_database_takes_is_cleaned(api: TestClient) -> None:
    with write_session() as session:
        number = arena.asked(session).id
    assert ok(vote(api, number, "A", reason="\x00 why\x00 "))["reason"] == "why"
    asked = ok(api.post("comparisons", json={"prompt": "Why\x00?"}), 201)
    with read_session() as session:
        turn = comparisons.get(asked["comparison_id"], session=session)
        assert turn.question == "Why?"
    refused(api.post("comparisons", json={"prompt": "\x00 "}), 422, field="question")
    assert ok(api.get("votes?user=%00"))["items"] == []


def test_exports_are_whole_files(api: TestClient) -> None:
    with write_session() as session:
        for _ in range(3):
            number = arena.asked(session).id
            session.flush()
            labels.vote(number, session=session, user="ada", choice=labels.Choice.BEST, best=1)
        tie = arena.asked(session).id
        labels.vote(tie, session=session, user="ada", choice=labels.Choice.TIE)
    answer = api.get("votes/export?format=trl")
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["chosen"] for row in rows] == [[{"role": "assistant", "content": "second answer"}]] * 3
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert 'filename="votes_trl.jsonl"' in answer.headers["content-disposition"]
    table = api.get("votes/export", params={"format": "raw", "file_type": "csv"})
    assert len(list(csv.DictReader(io.StringIO(table.text)))) == 4
    parquet = api.get("votes/export", params={"format": "raw", "file_type": "parquet", "choice": "tie"})
    assert parquet.content[:4] == parquet.content[-4:] == b"PAR1"
    refused(api.get("votes/export?format=xml"), 422, field="format")


@SQLITE
@pytest.mark.parametrize("number", [0, -1, 2**31, 10**30])
def test_ids_that_no_row_can_have_are_refused(api: TestClient, number: int) -> None:
    refused(api.get(f"comparisons/{number}"), 422, field="comparison_id")
    refused(api.get(f"votes/{number}"), 422, field="vote_id")
    refused(api.post("comparisons", json={"prompt": "Why?", "run_ids": [number]}), 422, field="run_ids.0")


@SQLITE
def test_what_is_not_there_is_not_found(api: TestClient) -> None:
    refused(vote(api, 7), 404)
    refused(api.get("comparisons/7"), 404)
    refused(api.get("votes/7"), 404)
    refused(api.get("conversations/7"), 404)
    refused(api.post("comparisons", json={"prompt": "Why?", "run_ids": [7]}), 404)


@SQLITE
def test_workers_and_health(api: TestClient) -> None:
    assert ok(api.get("health"))["status"] == "no_worker"
    with write_session() as session:
        workers.beat("w", session=session, queues="train,generate", device="cpu")
    assert ok(api.get("health")) == {
        "status": "ok",
        "database": "ok",
        "queues": {"train": 1, "generate": 1},
    }
    (worker,) = ok(api.get("workers"))
    assert (worker["id"], worker["queues"], worker["trouble"]) == ("w", ["train", "generate"], "")
    with write_session() as session:
        workers.beat("w", session=session, queues="train,generate", device="cpu", trouble="It is deaf.")
    assert ok(api.get("health"))["status"] == "no_worker"
    assert ok(api.get("workers"))[0]["trouble"] == "It is deaf."


@SQLITE
def test_the_schemas_have_every_field_of_the_views(api: TestClient) -> None:
    with write_session() as session:
        number = arena.asked(session).id
    ok(vote(api, number))
    with read_session() as session:
        assert set(VoteShown.model_fields) == set(vote_view(label_queries.votes(session=session)[0]))
    shown = ok(api.get(f"comparisons/{number}"))
    assert set(shown) == set(ComparisonShown.model_fields)
    assert set(shown["answers"][0]) == set(AnswerShown.model_fields)


def test_names_are_hidden_from_who_may_still_vote_blind(api: TestClient, as_user: AsUser) -> None:
    with write_session() as session:
        run = arena.add_run(session, "hypo", name="walnut")
    ada, bob = as_user("ada"), as_user("bob")
    asked = ok(api.post("comparisons", json={"prompt": "Why?", "run_ids": [run.id]}, headers=ada), 201)
    number = asked["comparison_id"]
    assert asked["names_hidden"]
    write_answers(number, "because", "therefore")
    hidden = ok(api.get(f"comparisons/{number}", headers=bob))["answers"]
    assert [answer["tokens"] for answer in hidden] == [None, None]  # answers from files have none

    def walk(headers: dict[str, str]) -> str:
        addresses = (
            f"comparisons/{number}",
            "votes",
            "votes/1",
            "votes/export?format=raw",
            f"votes?run_id={run.id}",
        )
        return "".join(api.get(address, headers=headers).text for address in addresses)

    assert "walnut" not in walk(ada)
    voted = ok(vote(api, number, "B", headers=ada, reason="the walnut"))
    assert voted["blind"] is True
    own = ok(api.get(f"comparisons/{number}/vote", headers=ada))
    assert sorted(own["shown"]) == ["Reference", "walnut"]
    assert "walnut" in walk(ada)
    assert "walnut" not in walk(bob)
    assert ok(api.get("votes", headers=bob))["items"][0]["names_hidden"]
    ok(vote(api, number, "A", headers=as_user("cyd")))
    shown = ok(api.post(f"comparisons/{number}/names", headers=bob))
    assert {answer["name"] for answer in shown["answers"]} == {"Reference", "walnut"}
    assert "walnut" in walk(bob)
    assert ok(vote(api, number, "A", headers=bob))["blind"] is False
    assert ok(api.post("votes/names", headers=as_user("dee"))) == {"comparisons": 1}
    assert ok(vote(api, number, "A", headers=as_user("dee")))["blind"] is False


@SQLITE
def test_a_held_out_conversation_is_drawn_and_asked(api: TestClient) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    with write_session() as session:
        dataset = arena.add_dataset(session, "chats", prompt=prompt, held_out=1.0)
        run = arena.add_run(session, dataset_id=dataset.id)
    drawn = ok(api.get(f"prompts/held-out?run_ids={run.id}"))
    assert drawn == {"opening": prompt[:1], "prompt": "Why?"}
    asked = ok(api.post("comparisons", json={**drawn, "run_ids": [run.id]}), 201)
    with read_session() as session:
        rows = comparisons.answers(asked["comparison_id"], session=session)
    assert [row.prompt.content for row in rows] == [prompt, prompt]
    bad = [{"role": "robot", "content": "x"}]
    refused(api.post("comparisons", json={"prompt": "Why?", "opening": bad}), 422, field="opening.0.role")
