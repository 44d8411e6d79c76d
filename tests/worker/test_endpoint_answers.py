"""Answers of endpoints, from a real server: beside a generate worker, failing, stopped, and resumed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import answers, campaigns
from app.campaign_prompts import checked
from app.campaigns import NewCampaign
from app.endpoints import client
from app.settings import Settings, get_settings
from app.store import answering, endpoint_answers
from app.store.conversations import Decoding
from app.store.db import read_session, write_session
from app.store.endpoint_answers import ENDPOINT_LEASES, ENDPOINT_WAKE_UPS
from app.store.enums import CampaignStatus, GenerationStatus, TaskStatus
from app.store.models import EndpointAnswer
from tests.app import campaign_setup
from tests.endpoint_server import EndpointServer, Reaction, serving, write_config
from tests.worker.test_campaign_answers import settled, statuses, written
from worker.endpoint_answers import request_next
from worker.shutdown import shutting_down

WORKER = "here:1:endpoints:aaaa"
PROMPTS = ("One?", "Two?", "Three?", "Four?")


@pytest.fixture
def server(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointServer]:
    """Two endpoints, GPT and Other, at one server that repeats the question."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr("worker.side_by_side.WISHES_SECONDS", 0.02)
    with serving() as found:
        entries = [
            found.entry(input_price=1.0, output_price=10.0),
            found.entry(name="Other", model="small", max_concurrency=2),
        ]
        monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", *entries))
        get_settings.cache_clear()
        found.react = lambda body: Reaction(f"{body['model']}: {body['messages'][-1]['content']}")
        yield found


def create(*names: str, beside: int = 0, prompts: tuple[str, ...] = PROMPTS) -> int:
    choices = answers.contenders_of_endpoints(names) + campaign_setup.choices(beside)[: beside or 0]
    decoding = Decoding(max_new_tokens=9, temperature=0.0)
    return campaigns.create(
        NewCampaign(name="Which?", choices=choices, prompts=checked(prompts), decoding=decoding, seed=7)
    )


def write_all() -> None:
    while request_next(worker=WORKER):
        continue


def lose_workers() -> None:
    with write_session() as session:
        leases = ENDPOINT_LEASES.all_held(session=session)
        ENDPOINT_LEASES.expire(leases, session=session)
        endpoint_answers.reap(leases, session=session)


def test_replies_become_answers_with_their_cost(server: EndpointServer) -> None:
    campaign_id = create("GPT", "Other")
    progress = campaigns.overview(campaign_id)
    assert (progress.queues, progress.progress.requests) == (["endpoints"], 8)
    write_all()
    assert statuses(campaign_id) == {GenerationStatus.FINISHED}
    assert settled(campaign_id) == {TaskStatus.READY}
    found = written(campaign_id)
    assert [row.text for row in found[:2]] == ["gpt-large: One?", "small: One?"]
    assert {(row.tokens, row.complete, row.policy_logp) for row in found} == {(2, True, None)}
    assert {(body["max_tokens"], body["temperature"], body["seed"]) for body in server.requests} == {
        (9, 0.0, 7)
    }
    after = campaigns.overview(campaign_id)
    assert (after.queues, after.progress.requests, after.progress.cost) == ([], 0, None)
    assert [c.name for c in after.contenders] == ["GPT", "Other"]
    with read_session() as session:
        assert ENDPOINT_LEASES.all_held(session=session) == {}
        costs = [row.cost for row in session.query(EndpointAnswer).order_by(EndpointAnswer.endpoint)]
        assert costs == [pytest.approx(3e-5)] * 4 + [None] * 4
    alone = create("GPT", beside=1)
    write_all()
    assert campaigns.overview(alone).progress.cost == pytest.approx(4 * 3e-5)


def test_requests_run_side_by_side_up_to_the_limit(server: EndpointServer) -> None:
    server.react = lambda _: Reaction(seconds=0.1)
    create("Other", beside=1)
    write_all()
    assert server.most_at_once == 2


def test_each_kind_of_worker_takes_its_own_answers(server: EndpointServer) -> None:
    campaign_id = create("GPT", beside=1)
    assert campaigns.overview(campaign_id).queues == ["generate", "endpoints"]
    with write_session() as session:
        claimed = answering.claim_next(session=session, worker="w", lease_seconds=60, lease="x", rows=8)
        assert len(claimed) == 4
    write_all()
    assert [row.status for row in written(campaign_id)] == [
        GenerationStatus.FINISHED,
        GenerationStatus.QUEUED,
    ] * 4
    assert campaigns.overview(campaign_id).queues == ["generate"]
    alone = create("GPT", "Other")
    with write_session() as session:
        answering.claim_next(session=session, worker="w", lease_seconds=60, lease="y", rows=8)
        assert not answering.claim_next(session=session, worker="w", lease_seconds=60, lease="z", rows=8)
    assert settled(alone) == {TaskStatus.WAITING}


def test_a_failure_is_tried_again_and_then_named(server: EndpointServer) -> None:
    server.react = lambda body: Reaction(status=400, text="No.") if "One" in str(body) else Reaction("Fine.")
    campaign_id = create("GPT", beside=1)
    write_all()
    assert len(server.requests) == 5, "the failed request is sent twice"
    failed = [row for row in written(campaign_id) if row.status is GenerationStatus.FAILED]
    assert [row.error for row in failed] == ["Endpoint GPT refused the request (status 400): No."]
    assert "refused the request" in campaigns.overview(campaign_id).progress.failures[0]


def test_an_endpoint_that_was_removed_is_told(
    server: EndpointServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_id = create("GPT", beside=1, prompts=("One?",))
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "fewer.yaml", server.entry(name="Other")))
    get_settings.cache_clear()
    write_all()
    assert campaigns.overview(campaign_id).progress.failures == ["There is no endpoint GPT; there are Other."]


def test_a_closed_campaign_sends_no_more_requests(server: EndpointServer) -> None:
    campaign_id = create("Other", beside=1)

    def close(body: dict[str, Any]) -> Reaction:
        campaigns.set_status(campaign_id, CampaignStatus.CLOSED)
        return Reaction(seconds=0.2)

    server.react = close
    write_all()
    assert len(server.requests) <= 2
    assert statuses(campaign_id) <= {GenerationStatus.STOPPED, GenerationStatus.FINISHED}
    assert not campaigns.overview(campaign_id).queues


def test_a_worker_that_is_told_to_stop_gives_its_answers_back(server: EndpointServer) -> None:
    def stop(_: Any) -> Reaction:
        shutting_down.set()
        return Reaction("Paid for.")

    server.react = stop
    campaign_id = create("Other", beside=1)
    request_next(worker=WORKER)
    done = [row.text for row in written(campaign_id) if row.status is GenerationStatus.FINISHED]
    assert done == ["Paid for."] * len(server.requests), "replies that were on their way are kept"
    shutting_down.clear()
    server.react = lambda _: Reaction("Later.")
    write_all()
    assert len([row for row in written(campaign_id) if row.text == "Later."]) == 4 - len(done)
    with read_session() as session:
        assert {row.attempt for row in session.query(EndpointAnswer)} == {0}


def test_the_next_worker_sends_what_a_dead_one_left(server: EndpointServer) -> None:
    campaign_id = create("GPT", beside=1)
    for attempt in range(answering.MAX_ANSWER_ATTEMPTS):
        with write_session() as session:
            found = endpoint_answers.claim_next(
                session=session, worker="gone", lease_seconds=60, lease=f"{attempt}", rows=2
            )
            assert len(found) == 2
            assert ENDPOINT_WAKE_UPS.is_undelivered(session=session, resend_seconds=0)
        assert len(server.requests) == 0
        lose_workers()
    write_all()
    assert len(server.requests) == 2
    failures = campaigns.overview(campaign_id).progress.failures
    assert failures == ["The worker died repeatedly while it waited for the endpoint."]


def test_an_endpoint_answers_a_chat(server: EndpointServer) -> None:
    choices = answers.contenders_of_endpoints(["GPT", "Other"])
    comparison = answers.begin(choices, "Who?", decoding=Decoding(max_new_tokens=5))
    write_all()
    found = answers.look(comparison.id)
    assert {row.text for row in found.answers} == {"gpt-large: Who?", "small: Who?"}
    server.say(Reaction(status=400, text="No."))
    answers.vote(comparison.id, "A")
    again = answers.follow_up(found.conversation_id, "And?", continues_from="A")
    write_all()
    assert {row.status for row in answers.look(again.id).answers} == {GenerationStatus.FAILED}
    assert len(server.requests[-1]["messages"]) == 3
