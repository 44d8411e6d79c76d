"""Automatic judges, asked through a real server: both orders, flips, rubbish, cache, stop, and resume."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app import campaigns, judges, labelling
from app.endpoints import client
from app.settings import Settings, get_settings
from app.store import verdicts
from app.store.db import read_session, write_session
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.models import JudgeReply, JudgeVerdict, Label
from app.store.verdicts import VERDICT_LEASES, VERDICT_WAKE_UPS
from tests.app import campaign_setup
from tests.endpoint_server import EndpointServer, Reaction, serving, write_config
from worker.judging import judge_next
from worker.shutdown import shutting_down

WORKER = "here:1:endpoints:aaaa"


def longest(body: dict[str, Any]) -> Reaction:
    """A judge that prefers the longer answer."""
    question = body["messages"][0]["content"]
    a, b = (question.partition(f"<{tag}-")[2].partition(f"</{tag}-")[0] for tag in ("answer_a", "answer_b"))
    return Reaction(f"It is longer.\nVerdict: {'A' if len(a) > len(b) else 'B'}")


@pytest.fixture
def server(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointServer]:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr("worker.side_by_side.WISHES_SECONDS", 0.02)
    with serving() as found:
        entry = found.entry(input_price=1.0, output_price=10.0, max_concurrency=2)
        monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", entry))
        get_settings.cache_clear()
        found.react = longest
        yield found


@pytest.fixture
def campaign(home: Settings) -> int:
    """Six prompts, two contenders; the second one's answers are longer, and those to the last are equal."""
    return campaign_setup.ready(
        prompts=[f"{at}?" for at in range(6)],
        text=lambda number, position: "same" if number == 5 else f"{number} " + "x" * position,
    )


def judge_all() -> None:
    while judge_next(worker=WORKER):
        continue


def rows() -> list[JudgeVerdict]:
    with read_session() as session:
        return list(session.scalars(select(JudgeVerdict).order_by(JudgeVerdict.id)))


def test_both_orders_are_asked_and_stored(server: EndpointServer, campaign: int) -> None:
    judge = judges.start(campaign, "GPT", seed=3)
    assert judges.report(judge).counts[VerdictStatus.QUEUED] == 5, "equal answers are not judged"
    judge_all()
    found = rows()
    assert {(row.status, row.outcome, row.flipped) for row in found} == {
        (VerdictStatus.JUDGED, Outcome.SECOND, False)
    }
    assert len(server.requests) == 10
    asked = {(body["temperature"], body["seed"], body["max_tokens"]) for body in server.requests}
    assert asked == {(0.0, 3, 512)}
    with read_session() as session:
        forward = session.get_one(JudgeReply, found[0].forward_id)
        backward = session.get_one(JudgeReply, found[0].backward_id)
        assert session.scalars(select(Label)).all() == [], "a verdict is no vote"
        assert VERDICT_LEASES.all_held(session=session) == {}
    assert (forward.text, backward.text) == ("It is longer.\nVerdict: B", "It is longer.\nVerdict: A")
    assert forward.sent["question"] in {body["messages"][0]["content"] for body in server.requests}
    assert (forward.sent["model"], forward.sent["seed"]) == ("gpt-large", 3)
    report = judges.report(judge)
    assert report.cost == (10, pytest.approx(10 * 3e-5))
    assert (report.flips.count, report.flips.of, report.longer.count, report.longer.of) == (0, 5, 5, 5)


def test_orders_that_disagree_are_a_tie(server: EndpointServer, campaign: int) -> None:
    server.say(Reaction("Verdict: A"))
    judge = judges.start(campaign, "GPT")
    judge_all()
    assert {(row.outcome, row.flipped) for row in rows()} == {(Outcome.TIE, True)}
    report = judges.report(judge)
    assert (report.flips.rate, report.longer.of) == (1.0, 0)
    server.say(Reaction("Verdict: tie"))
    judges.start(campaign, "GPT", seed=1)
    judge_all()
    assert {(row.outcome, row.flipped) for row in rows()[5:]} == {(Outcome.TIE, False)}


def test_a_reply_without_a_verdict_is_counted_and_not_guessed(
    server: EndpointServer, campaign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.say(Reaction("Verdict: A"), Reaction("I cannot decide: A, or B."), Reaction("Verdict: tie"))
    monkeypatch.setattr("worker.judging.CLAIMED_ROWS", 1)
    judge = judges.start(campaign, "GPT")
    judge_all()
    assert [row.status for row in rows()] == [VerdictStatus.UNPARSABLE] + [VerdictStatus.JUDGED] * 4
    assert rows()[0].outcome is None
    assert rows()[0].backward_id is not None
    assert judges.resume(judge) == 0, "the same question would get the same reply"


def test_the_same_question_is_paid_once(server: EndpointServer, campaign: int) -> None:
    first = judges.start(campaign, "GPT")
    judge_all()
    again = judges.start(campaign, "GPT", template="Q: {question} {answer_a} {answer_b}")
    judge_all()
    assert len(server.requests) == 20
    with write_session() as session:
        verdict = session.scalars(select(JudgeVerdict).where(JudgeVerdict.judge_id == again)).first()
        assert verdict is not None
        verdict.status = VerdictStatus.FAILED
    assert judges.resume(again) == 1
    judge_all()
    assert len(server.requests) == 20
    assert judges.report(first).cost.replies == judges.report(again).cost.replies == 10


def test_a_failure_is_named_and_asked_again_on_demand(server: EndpointServer, campaign: int) -> None:
    server.say(Reaction("No.", status=400))
    judge = judges.start(campaign, "GPT")
    judge_all()
    report = judges.report(judge)
    assert report.counts[VerdictStatus.FAILED] == 5
    assert report.failures == ["Endpoint GPT refused the request (status 400): No."]
    server.react = longest
    assert judges.resume(judge) == 5
    judge_all()
    assert judges.report(judge).counts[VerdictStatus.JUDGED] == 5
    with read_session() as session:
        assert not VERDICT_WAKE_UPS[JudgeKind.ENDPOINT].is_undelivered(session=session, resend_seconds=0)


def test_a_judge_stops_and_continues(server: EndpointServer, campaign: int) -> None:
    def stop(body: dict[str, Any]) -> Reaction:
        judges.stop(judge)
        return Reaction(longest(body).text, seconds=0.1)

    judge = judges.start(campaign, "GPT")
    server.react = stop
    judge_all()
    report = judges.report(judge)
    assert report.waiting == 0
    assert report.counts[VerdictStatus.STOPPED] >= 3
    assert len(server.requests) <= 4
    server.react = longest
    judges.resume(judge)
    judge_all()
    assert judges.report(judge).counts[VerdictStatus.JUDGED] == 5
    assert len(server.requests) == 10, "replies from before the stop are reused"


def test_a_worker_that_stops_or_dies_leaves_its_verdicts_to_the_next(
    server: EndpointServer, campaign: int
) -> None:
    def leave(body: dict[str, Any]) -> Reaction:
        shutting_down.set()
        return longest(body)

    judge = judges.start(campaign, "GPT")
    server.react = leave
    judge_next(worker=WORKER)
    shutting_down.clear()
    assert judges.report(judge).waiting == 5
    server.react = longest
    with write_session() as session:
        verdicts.claim_next(
            JudgeKind.ENDPOINT, session=session, worker="gone", lease_seconds=60, lease="x", rows=2
        )
    assert [row.attempt for row in rows()] == [1, 1, 0, 0, 0]
    with write_session() as session:
        held = VERDICT_LEASES.all_held(session=session)
        VERDICT_LEASES.expire(held, session=session)
        verdicts.reap(held, session=session)
    judge_all()
    assert judges.report(judge).counts[VerdictStatus.JUDGED] == 5
    assert len(server.requests) == 10


def test_the_judge_stands_beside_people(server: EndpointServer, campaign: int) -> None:
    campaigns.edit(campaign, votes_wanted=2)
    for user in ("ada", "bob"):
        for offer in labelling.take(campaign, user=user, count=5).offers:
            longer = max(range(2), key=lambda side, texts=offer.answers: len(texts[side]))
            agrees = user == "ada" or offer.question == "0?"
            labelling.vote(offer.slot_id, "AB"[longer if agrees else 1 - longer], user=user)
    judge = judges.start(campaign, "GPT")
    judge_all()
    report = judges.report(judge)
    assert (report.with_people.pairs, report.with_people.rate) == (10, pytest.approx(6 / 10))
    assert (report.among_people.pairs, report.among_people.rate) == (5, pytest.approx(1 / 5))
    assert report.with_people.low is not None
