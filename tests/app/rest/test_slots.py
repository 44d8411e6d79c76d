"""The addresses of a person's slots in a campaign."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import campaigns, labelling
from app.i18n.language import speaking
from app.rest.schemas.slots import SlotsTaken
from app.settings import get_settings
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus
from tests.app import campaign_setup
from tests.app.rest.conftest import ok, refused

Headers = Callable[[str], dict[str, str]]

pytestmark = pytest.mark.usefixtures("engine")


def ready(**given: Any) -> int:
    return campaign_setup.ready(**{"order": CampaignOrder.IN_ORDER, **given})


def take(api: TestClient, campaign_id: int, count: int = 3, headers: dict[str, str] | None = None) -> Any:
    return ok(api.post(f"campaigns/{campaign_id}/slots?count={count}", headers=headers))


def ids(taken: Any) -> list[int]:
    return [slot["id"] for slot in taken["slots"]]


def test_slots_are_taken_with_everything_that_is_judged_and_no_names(api: TestClient) -> None:
    opening = [{"role": "system", "content": "Be *brief*."}]
    campaign_id = ready(
        prompts=[[*opening, {"role": "user", "content": "Why **so**?"}]],
        text=lambda _, position: ["# One", "<b>two</b>"][position],
        guidelines="Prefer *kind* answers.",
        name="Which?",
    )
    taken = take(api, campaign_id)
    assert taken["status"] == "open"
    assert taken["mine"] == {"voted": 0, "skipped": 0, "left": 1}
    assert (taken["waiting"], taken["note"]) == (0, "")
    assert taken["campaign"] == {
        "id": campaign_id,
        "name": "Which?",
        "form": "pairs",
        "ask_reason": False,
        "aspects": [],
        "guidelines": "Prefer *kind* answers.",
        "guidelines_html": "<p>Prefer <em>kind</em> answers.</p>\n",
    }
    [slot] = taken["slots"]
    assert slot["opening"] == opening
    assert (slot["question"], slot["question_html"]) == (
        "Why **so**?",
        "<p>Why <strong>so</strong>?</p>\n",
    )
    assert [answer["letter"] for answer in slot["answers"]] == ["A", "B"]
    htmls = {answer["text"]: answer["html"] for answer in slot["answers"]}
    assert htmls == {
        "# One": '<p class="hy-md-heading hy-md-h1">One</p>\n',
        "<b>two</b>": "<p>&lt;b&gt;two&lt;/b&gt;</p>\n",
    }
    assert not {"name", "method", "run_id", "comparison_id", "number", "seed"} & set(slot) | set(
        slot["answers"][0]
    ) - {
        "letter",
        "text",
        "html",
    }


def test_a_second_call_gives_the_same_slots_with_the_same_sides(api: TestClient) -> None:
    campaign_id = ready(prompts=[f"{n}?" for n in range(6)])
    first = take(api, campaign_id, 2)
    again = take(api, campaign_id, 4)
    assert again["slots"][:2] == first["slots"]
    assert len(again["slots"]) == 4


def test_a_vote_counts_in_the_persons_order_and_shows_no_names(api: TestClient) -> None:
    campaign_id = ready()
    slot = take(api, campaign_id)["slots"][0]
    vote = {"choice": "B", "reason": "Kinder.", "seconds": 2.5}
    stored = ok(api.put(f"slots/{slot['id']}/vote", json=vote))
    assert (stored["choice"], stored["best_letter"], stored["reason"]) == ("best", "B", "Kinder.")
    assert (stored["slot_id"], stored["worst_letter"], stored["seconds"]) == (slot["id"], "A", 2.5)
    assert "name" not in str(stored)
    after = take(api, campaign_id)
    assert slot["id"] not in ids(after)
    assert after["mine"] == {"voted": 1, "skipped": 0, "left": 1}


def test_a_repeated_vote_with_the_same_key_counts_once(api: TestClient) -> None:
    slot = take(api, ready())["slots"][0]
    vote = {"json": {"choice": "tie"}, "headers": {"Idempotency-Key": "one"}}
    first = api.put(f"slots/{slot['id']}/vote", **vote)
    again = api.put(f"slots/{slot['id']}/vote", **vote)
    assert ok(again) == ok(first)
    assert again.headers["Idempotent-Replayed"] == "true"


def test_the_best_and_the_worst_of_three(api: TestClient) -> None:
    slot = take(api, ready(contenders=3, form=CampaignForm.BEST_WORST))["slots"][0]
    assert [answer["letter"] for answer in slot["answers"]] == ["A", "B", "C"]
    refused(api.put(f"slots/{slot['id']}/vote", json={"choice": "A"}), 422, field="worst")
    stored = ok(api.put(f"slots/{slot['id']}/vote", json={"choice": "A", "worst": "C"}))
    assert (stored["best_letter"], stored["worst_letter"]) == ("A", "C")


def test_a_vote_and_a_skip_are_undone(api: TestClient) -> None:
    campaign_id = ready()
    first, second = take(api, campaign_id)["slots"]
    ok(api.put(f"slots/{first['id']}/vote", json={"choice": "both bad"}))
    ok(api.post(f"slots/{second['id']}/skip"), 204)
    assert take(api, campaign_id)["mine"] == {"voted": 1, "skipped": 1, "left": 0}
    for slot in (first, second):
        assert ok(api.delete(f"slots/{slot['id']}/vote")) == slot
        assert ok(api.delete(f"slots/{slot['id']}/vote")) == slot
    taken = take(api, campaign_id)
    assert taken["slots"] == [first, second]
    assert taken["mine"] == {"voted": 0, "skipped": 0, "left": 2}


def test_slots_that_are_given_back_go_to_others(api: TestClient, as_user: Headers) -> None:
    campaign_id = ready(prompts=["Only?"])
    bob = as_user("bob")
    assert len(take(api, campaign_id)["slots"]) == 1
    assert take(api, campaign_id, headers=bob)["slots"] == []
    ok(api.delete(f"campaigns/{campaign_id}/slots"), 204)
    assert len(take(api, campaign_id, headers=bob)["slots"]) == 1


def test_a_slot_is_one_persons(api: TestClient, as_user: Headers) -> None:
    slot = take(api, ready())["slots"][0]
    bob = as_user("bob")
    said = refused(api.put(f"slots/{slot['id']}/vote", json={"choice": "A"}, headers=bob), 409)
    assert "another person" in said
    refused(api.post(f"slots/{slot['id']}/skip", headers=bob), 409)
    refused(api.delete(f"slots/{slot['id']}/vote", headers=bob), 409)


def test_why_there_is_nothing_to_judge(api: TestClient) -> None:
    campaign_id = campaign_setup.create()
    taken = take(api, campaign_id)
    assert (taken["slots"], taken["waiting"]) == ([], 2)
    assert "still being written" in taken["note"]
    for status in (CampaignStatus.PAUSED, CampaignStatus.CLOSED):
        campaigns.set_status(campaign_id, status)
        taken = take(api, campaign_id)
        assert taken["status"] == status.value
        assert status.value in taken["note"]
    assert taken["mine"]["left"] == 0  # in a closed campaign
    with speaking("ru"):
        told = SlotsTaken.of(labelling.take(campaign_id), campaigns.overview(campaign_id).campaign)
    assert told.note == "Кампания закрыта."


def test_what_is_not_there_or_not_allowed(
    api: TestClient, as_user: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(api.post("campaigns/99/slots"), 404)
    refused(api.put("slots/99/vote", json={"choice": "A"}), 404)
    refused(api.post("campaigns/1/slots?count=11"), 422, field="count")
    campaign_id = ready(voters=["local"])
    refused(api.post(f"campaigns/{campaign_id}/slots", headers=as_user("bob")), 409)
    slot = take(api, campaign_id)["slots"][0]
    refused(api.put(f"slots/{slot['id']}/vote", json={"choice": "E"}), 422, field="choice")
    monkeypatch.setenv("HYPO_AUTH", "ada:secret")
    get_settings.cache_clear()
    refused(api.post(f"campaigns/{campaign_id}/slots"), 401)


def test_the_campaigns_that_are_open_to_a_person() -> None:
    everybodys, mine, paused = ready(), ready(voters=["local"]), ready()
    campaigns.set_status(paused, CampaignStatus.PAUSED)
    [slot, _] = labelling.take(everybodys, user="bob").offers
    labelling.vote(slot.slot_id, "A", user="bob")
    found = {campaign.id: (counts.voted, counts.left) for campaign, counts in labelling.open_to("bob")}
    assert found == {everybodys: (1, 1)}
    assert [campaign.id for campaign, _ in labelling.open_to("local")] == [mine, everybodys]


def test_the_answers_to_a_control_are_those_to_any_other_comparison(api: TestClient) -> None:
    campaign_id = ready(prompts=[f"{n}?" for n in range(6)], repeat_share=0.5)
    seen: dict[str, set[str]] = {"slot": set(), "vote": set(), "taken": set()}
    for _ in range(9):
        taken = take(api, campaign_id, 1)
        slot = taken["slots"][0]
        stored = ok(api.put(f"slots/{slot['id']}/vote", json={"choice": "A", "seconds": 1}))
        for name, found in (("slot", slot), ("vote", stored), ("taken", taken)):
            seen[name].add(str(sorted(found)))
        assert stored["slot_id"] == slot["id"]
    assert take(api, campaign_id)["mine"] == {"voted": 9, "skipped": 0, "left": 0}
    assert {name: len(found) for name, found in seen.items()} == {"slot": 1, "vote": 1, "taken": 1}
    found = ok(api.get(f"campaigns/{campaign_id}/quality"))["controls"]
    assert found["people"][0]["repeats_consistent"]["of"] == 3
    assert len(ok(api.get("votes"))["items"]) == 6


def test_aspects_are_asked_stored_and_ranked(api: TestClient) -> None:
    campaign_id = ready(aspects=["helpful", "clear"])
    taken = take(api, campaign_id)
    assert taken["campaign"]["aspects"] == ["helpful", "clear"]
    address = f"slots/{taken['slots'][0]['id']}/vote"
    refused(api.put(address, json={"choice": "A", "aspects": {"kind": "A"}}), 422, field="aspects")
    said = {"helpful": "B", "clear": "not applicable"}
    stored = ok(api.put(address, json={"choice": "A", "aspects": said}))
    assert stored["aspects"] == said
    assert ok(api.get("votes"))["items"][0]["aspects"] is None  # hidden like the vote
    ok(api.post(f"campaigns/{campaign_id}/names"))
    assert ok(api.get("votes"))["items"][0]["aspects"] == said
    board = f"campaigns/{campaign_id}/board"
    assert ok(api.get(board, params={"aspect": "helpful"}))["games"] == 1
    assert ok(api.get(board, params={"aspect": "clear"}))["games"] == 0
    assert "helpful, clear" in refused(api.get(board, params={"aspect": "kind"}), 422, field="aspect")
    assert ok(api.get(f"campaigns/{campaign_id}/quality"))["aspects"][0]["name"] == "helpful"
