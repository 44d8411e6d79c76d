"""Answers token by token and pasted texts through the API; what is hidden stays hidden."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app import campaigns
from app.store import comparisons, labels, scorings
from app.store.claims import Claim
from app.store.db import read_session, write_session
from app.store.enums import CampaignStatus, Choice, GenerationStatus
from app.store.models import Campaign, Comparison, Contender, Scoring
from app.ui.answer.address import answer_url
from tests.app import arena, campaign_setup
from tests.app.rest.conftest import ok, refused

AsUser = Callable[[str], dict[str, str]]
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
TOKENS = [["so", -1.0, -2.0, [["so", -1.0]], [["no", -0.5]]], ["<end>", -0.5, None, [], []]]


def finish_all() -> None:
    """Write every scoring that waits, as a worker would."""
    with write_session() as session:
        while held := scorings.claim_next(session=session, worker="w", lease_seconds=60, lease="x"):
            for row in held:
                given = {"policy_logp": -1.5, "reference_logp": -3.0, "step": 10, "as_sampled": True}
                scorings.finish(Claim.of(row), session=session, tokens=TOKENS, **given)
                scorings.SCORING_LEASES.release(Claim.of(row), session=session)
            session.expire_all()


def asked(*, blind: bool, user: str = "local") -> tuple[int, list[int]]:
    """A comparison of the reference and DPO, and the ids of its answers in display order."""
    with write_session() as session:
        comparison = arena.asked(session, blind=blind, user=user)
        return comparison.id, [row.id for row in comparisons.answers(comparison.id, session=session)]


def test_an_answer_is_opened_once_and_kept(api: TestClient, as_user: AsUser) -> None:
    _, (one, other) = asked(blind=False)
    present = ok(api.get(f"generations/{one}/tokens"))
    assert present["scoring"] is None
    assert [token["text"] for token in present["stored"]] == ["first ", "answer "]
    assert (present["author"]["method"], present["beside"][0]["id"]) == ("reference", other)
    wanted = ok(api.post(f"generations/{one}/tokens"))
    assert (wanted["scoring"]["status"], "hypo worker" in wanted["note"]) == ("queued", True)
    ok(api.post(f"generations/{one}/tokens", headers=as_user("ada")))
    with read_session() as session:
        assert session.scalar(select(func.count()).select_from(Scoring)) == 1
    finish_all()
    scored = ok(api.get(f"generations/{one}/tokens?wait=5"))
    assert (scored["stored"], scored["note"], scored["scoring"]["log_ratio"]) == ([], "", 1.5)
    assert scored["scoring"]["policy"] == {
        "logp": -1.5,
        "mean_logp": -0.75,
        "perplexity": pytest.approx(2.117),
    }
    assert scored["scoring"]["tokens"][0]["reference_top"] == [["no", -0.5]]
    assert ok(api.post(f"generations/{one}/tokens"))["scoring"]["status"] == "finished"
    said = refused(api.get("generations/9999999/tokens"), 404)
    assert said == "No answer has the id 9999999; it may have been deleted with its run."
    assert answer_url(one, beside=other) == f"answer?id={one}&beside={other}"


@SQLITE
def test_a_blind_answer_shows_nothing_before_its_vote(api: TestClient, as_user: AsUser) -> None:
    comparison, generation_ids = asked(blind=True)
    ada, bob = as_user("ada"), as_user("bob")
    for headers in ({}, ada, bob):
        for number in generation_ids:
            for answer in (
                api.get(f"generations/{number}/tokens", headers=headers),
                api.post(f"generations/{number}/tokens", headers=headers),
            ):
                sentence = refused(answer, 409)
                assert "hidden until you vote" in sentence
                assert not any(word in sentence for word in ("dpo", "Reference", "logp"))
    with write_session() as session:
        labels.vote(comparison, session=session, user="ada", choice=Choice.BEST, best=0, worst=1)
    ok(api.post(f"generations/{generation_ids[0]}/tokens", headers=ada))
    finish_all()
    assert "hidden" in refused(api.get(f"generations/{generation_ids[0]}/tokens", headers=bob), 409)
    ok(api.post(f"comparisons/{comparison}/names", headers=bob))
    ok(api.get(f"generations/{generation_ids[0]}/tokens", headers=bob))


@SQLITE
def test_a_campaigns_answers_open_with_all_of_its_names(api: TestClient, as_user: AsUser) -> None:
    campaign = campaign_setup.ready()
    with read_session() as session:
        query = select(Comparison.id).where(Comparison.campaign_id == campaign)
        everything = session.scalars(query).all()
        answers = [row.id for one in everything for row in comparisons.answers(one, session=session)]
    ada = as_user("ada")
    ok(api.post(f"comparisons/{everything[0]}/names", headers=ada))  # the names of one prompt do not suffice
    for number in answers:
        assert f"campaign {campaign}" in refused(api.get(f"generations/{number}/tokens", headers=ada), 409)
        refused(api.post(f"generations/{number}/tokens", headers=ada), 409)
    campaigns.show_names(campaign, user="ada")
    ok(api.post(f"generations/{answers[0]}/tokens", headers=ada))
    with write_session() as session:
        for contender in session.scalars(select(Contender)):
            contender.method = "answers"
    assert "came from a file" in refused(api.post(f"generations/{answers[1]}/tokens", headers=ada), 409)


@SQLITE
def test_unfinished_and_failed_answers_are_told(api: TestClient) -> None:
    _, (one, _) = asked(blind=False)
    for status, sentence in (
        (GenerationStatus.RUNNING, "still being written"),
        (GenerationStatus.FAILED, "answer failed"),
    ):
        with write_session() as session:
            session.get_one(arena.Generation, one).status = status
        assert sentence in refused(api.post(f"generations/{one}/tokens"), 409)


def scored(api: TestClient, headers: dict[str, str] | None = None, **given: Any) -> Any:
    return api.post("scored-texts", json={"prompt": "Why?", "text": "So.", **given}, headers=headers or {})


def test_a_pasted_text_is_scored_for_its_person(api: TestClient, as_user: AsUser) -> None:
    with write_session() as session:
        run = arena.add_run(session, "hypo")
    first = ok(scored(api, run_ids=[run.id]), 201)
    assert [one["name"] for one in first["contenders"]] == ["hypo run"]
    assert (first["over"], first["contenders"][0]["scoring"]["status"]) == (False, "queued")
    finish_all()
    done = ok(api.get(f"scored-texts/{first['id']}?wait=5"))
    assert done["over"]
    assert done["contenders"][0]["scoring"]["reference"]["logp"] == -3.0
    refused(api.get(f"scored-texts/{first['id']}", headers=as_user("bob")), 404)
    refused(api.post(f"scored-texts/{first['id']}/retry", headers=as_user("bob")), 404)
    assert [one["id"] for one in ok(api.get("scored-texts"))["items"]] == [first["id"]]
    assert ok(api.get("scored-texts", headers=as_user("bob")))["items"] == []
    ok(api.post(f"scored-texts/{first['id']}/retry"))


@SQLITE
def test_bad_texts_are_told(api: TestClient) -> None:
    for field, given in {
        "text": {"text": "  "},
        "question": {"prompt": ""},
        "contenders": {"run_ids": [1, 1]},
        "opening": {"as_text": True, "opening": [{"role": "user", "content": "x"}]},
    }.items():
        with write_session() as session:
            arena.add_run(session)
        refused(scored(api, **given), 422, field=field)
    assert "limit is 32,000" in refused(scored(api, text="x" * 32_001), 422, field="text")
    refused(scored(api, run_ids=[999]), 404)


@SQLITE
def test_scores_do_not_tell_blind_answers(api: TestClient, as_user: AsUser) -> None:
    """Who pastes a blind answer as a text would see which contender finds it likeliest."""
    comparison, _ = asked(blind=True)
    assert f"conversation={1}" in refused(scored(api, prompt="What is a tie?"), 409)
    ok(scored(api, prompt="What is a tie?", as_text=True), 201)
    with write_session() as session:
        labels.vote(comparison, session=session, user="local", choice=Choice.TIE)
    ok(scored(api, prompt="What is a tie?"), 201)
    campaign = campaign_setup.ready()
    assert f"Campaign {campaign}" in refused(scored(api, prompt="One?"), 409)
    ok(scored(api, prompt="Another?"), 201)
    with write_session() as session:
        session.get_one(Campaign, campaign).status = CampaignStatus.CLOSED
    ok(scored(api, prompt="One?"), 201)
