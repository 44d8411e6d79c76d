"""The campaigns page: handlers, called as functions, and HTML."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import gradio as gr
import pytest
from sqlalchemy import Engine

from app import campaigns, labelling
from app.settings import Settings, get_settings
from app.store import db, names
from app.store.db import read_session, write_session
from app.store.enums import CampaignStatus
from app.store.models import Base
from app.ui import home
from app.ui.campaigns import changing, disagreements, listing, making, next_round, one, page
from app.ui.campaigns.form import DEFAULTS, FIELDS
from app.ui.run import view as run_view
from app.ui.updates import Updates
from tests.app import arena, campaign_setup
from tests.endpoint_server import write_config


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An empty SQLite database; the tests of the services also run on PostgreSQL."""
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def runs(engine: Engine) -> list[int]:
    """Finished twins."""
    with write_session() as session:
        made = [arena.add_run(session, method, name=method) for method in ("dpo", "hypo")]
        for run in made:
            run.twin_group = "the-twins"
        return [run.id for run in made]


def at(user: str = "local", **query: object) -> Any:
    """A request for the page with these query parameters."""
    return SimpleNamespace(query_params={name: str(value) for name, value in query.items()}, username=user)


def values(**given: Any) -> list[Any]:
    """The form's values, as a handler receives them: pasted prompts for three contenders."""
    usual = {
        "contenders": ["reference:demo", "run:1", "run:2"],
        "source": "pasted",
        "pasted": "One?\nTwo?",
        "file": None,
        "answer_files": None,
    }
    filled = {**DEFAULTS, **usual, **given}
    return [filled[name] for name in FIELDS]


def start(**given: Any) -> Updates:
    return making.start(at(), *values(**given))


def told(updates: Updates) -> dict[str, str]:
    """The visible messages below fields."""
    return {
        name.removesuffix("_message"): str(update["value"])
        for name, update in updates.items()
        if name.endswith("_message") and update["visible"]
    }


def visible(updates: Updates) -> set[str]:
    """Names of the components that an update shows."""
    return {name for name, update in updates.items() if isinstance(update, dict) and update.get("visible")}


# --- opening ---------------------------------------------------------------------------------


def test_without_campaigns_the_page_says_what_they_are_for(engine: Engine) -> None:
    opened = page.open_page(None, at())
    assert visible(opened) == {"listing"}
    assert "In a campaign several models answer the same prompts" in opened["table"]
    assert 'href="campaigns?new=1"' in opened["table"]


def test_the_list_shows_progress_and_stops_to_poll(runs: list[int]) -> None:
    campaign_id = campaign_setup.create(contenders=3)
    shown = listing.show(0)
    assert "0 of 6" in shown["table"]
    assert "writing answers" in shown["table"]
    assert f'href="label?campaign={campaign_id}"' in shown["table"]
    assert shown["timer"].active
    assert listing.show(0, shown["seen"]) == {}
    campaigns.set_status(campaign_id, CampaignStatus.CLOSED)
    closed = listing.show(0, shown["seen"])
    assert not closed["timer"].active
    assert "label?campaign" not in closed["table"]


def test_the_form_is_filled_from_the_address(runs: list[int]) -> None:
    newest = page.open_page(None, at(new=1))
    assert newest["contenders"]["value"] == ["reference:demo", "run:1", "run:2"]
    assert page.open_page(None, at(runs="2"))["contenders"]["value"] == ["reference:demo", "run:2"]
    of_group = page.open_page(None, at(group="the-twins"))
    assert of_group["contenders"]["value"] == ["reference:demo", "run:1", "run:2"]
    assert not newest["voters"]["visible"]


def test_choices_are_remembered(runs: list[int]) -> None:
    draft = start(contenders=["run:1", "run:2"], votes_wanted=3, max_new_tokens=40, name="First", seed=5)[
        "draft"
    ]
    again = page.open_page(draft, at(new=1))
    assert again["contenders"]["value"] == ["run:1", "run:2"]
    assert (again["votes_wanted"], again["max_new_tokens"], again["source"]) == (3, 40, "pasted")
    assert (again["name"], again["pasted"]["value"], again["seed"]) == ("", "", None)
    named = page.open_page(draft, at(runs="1"))["contenders"]["value"]
    assert named == ["reference:demo", "run:1"]
    gone = page.open_page(
        {**draft, "contenders": ["run:8", "run:9"], "dataset": 99, "voters": None}, at(new=1)
    )
    assert gone["contenders"]["value"] == ["reference:demo", "run:1", "run:2"]
    assert gone["dataset"]["value"] == gone["dataset"]["choices"][0][1]


def test_a_campaign_that_is_not_there(engine: Engine) -> None:
    shown = page.open_page(None, at(campaign=7))
    assert "There is no such campaign" in shown["header"]
    assert not shown["one"]["visible"]


def test_twins_lead_to_a_campaign(runs: list[int]) -> None:
    with read_session() as session:
        from app.store import runs as store

        found = store.of_ids(runs, session=session)
    assert 'href="campaigns?runs=1%2C2">Judge many prompts' in run_view.header(found[0], found)
    assert 'href="campaigns?new=1">Judge many prompts' in home.refresh("")["steps"]


# --- the form --------------------------------------------------------------------------------


def test_the_preview_counts_answers_and_votes(runs: list[int]) -> None:
    summary = page.preview(at(new=1), *values(samples=2, votes_wanted=2))["summary"]
    for part in (
        "3 contenders",
        "2 prompts",
        "2 times each",
        "12 answers",
        "12 comparisons",
        "24 votes",
        "4 min",
    ):
        assert part in summary
    together = making.preview(*values(form="best_worst"))["summary"]
    assert "2 comparisons</b>, all answers at once" in together
    two = making.preview(*values(form="best_worst", contenders=["run:1", "run:2"]))["summary"]
    assert "two answers at a time" in two
    assert page.preview(at(campaign=1), *values()) == {}


def test_the_preview_reads_files_and_datasets(runs: list[int], tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("prompt\nOne?\nTwo?\nThree?\n")
    assert "3 prompts" in making.preview(*values(source="file", file=str(file)))["summary"]
    with write_session() as session:
        dataset = arena.add_dataset(session, "held", held_out=1.0).id
    of_dataset = values(source="dataset", dataset=dataset)
    assert "1 prompt</b>" in making.preview(*of_dataset)["summary"]
    assert "no held-out prompts" in told(making.preview(*values(source="dataset", dataset=1)))["prompts"]


def test_uploaded_answers_are_contenders(runs: list[int], tmp_path: Path) -> None:
    file = tmp_path / "gpt.csv"
    file.write_text("prompt,answer\nOne?,1\nThree?,3\n")
    given: dict[str, Any] = {"answer_files": [str(file)], "answer_names": "GPT-4\n"}
    assert "no answer to 1 of 2 prompts: “Two?”" in told(making.preview(*values(**given)))["answers"]
    only = making.preview(*values(**given, only_answered=True))["summary"]
    assert "4 contenders</b> answer <b>1 prompt</b>: 4 answers, 1 of them from files" in only
    theirs = making.preview(*values(**given, source="answered"))["summary"]
    assert "<b>2 prompts</b>" in theirs
    assert "below the contenders" in told(start(source="answered"))["prompts"]
    file.write_text("prompt,answer\nOne?,\n")
    unread = {"answer_files": [str(file)], "answer_names": "Other"}
    assert "gpt.csv: Row 1: answer is empty" in told(start(**unread))["answers"]
    started = start(**given, contenders=["reference:demo"], source="answered")
    assert 'data-next="campaigns?campaign=1"' in started["outcome"]
    assert [found.name for found in campaigns.overview(1).contenders] == ["Reference", "GPT-4"]
    assert (
        "from a file"
        in changing.add_prompts(at(campaign=1), "pasted", None, None, None, "Four?")["prompts_message"][
            "value"
        ]
    )


def test_endpoints_are_contenders(runs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "GPT: large", "base_url": "https://x.example/v1", "model": "gpt-large"}
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", entry))
    get_settings.cache_clear()
    offered = making.opened({}, at(new=1))["contenders"]["choices"]
    assert offered[-1] == ("GPT: large · endpoint", "endpoint:GPT: large")
    assert "campaign=1" in start(contenders=["reference:demo", "endpoint:GPT: large"])["outcome"]
    shown = one.show("", at(campaign=1))["progress"]
    assert "No generate worker is running" in shown
    assert "No endpoints worker is running" in shown
    assert "There is no endpoint X" in start(contenders=["reference:demo", "endpoint:X"])["outcome"]


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"contenders": ["run:1"]}, "contenders", "two to four contenders, not 1"),
        ({"contenders": ["run:1", "run:99"]}, "", "There is no run 99"),
        ({"pasted": " \n"}, "prompts", "no prompts"),
        ({"source": "file"}, "prompts", "Choose a file."),
        ({"source": "dataset"}, "prompts", "Choose a dataset"),
        ({"source": "dataset", "dataset": 1, "count": 0}, "prompts", "at least 1"),
        ({"samples": None}, "samples", "Answers to each prompt must be between 1 and 16."),
        ({"votes_wanted": 51}, "votes_wanted", "Votes on each comparison must be between 1 and 50."),
        ({"max_new_tokens": 5000}, "max_new_tokens", "Longest answer must be between 1 and 4096."),
        ({"name": "x" * 161}, "name", "Name has more than 160 characters"),
        ({"seed": -1}, "seed", "Seed must be"),
        ({"pasted": "\n".join(map(str, range(600))), "samples": 2}, "prompts", "at most 1,000"),
    ],
)
def test_an_error_is_beside_its_field_and_nothing_starts(
    runs: list[int], given: dict[str, Any], field: str, sentence: str
) -> None:
    refused = start(**given)
    assert "Nothing was started" in refused["outcome"]
    if field:
        assert sentence in told(refused)[field]
    else:
        assert sentence in refused["outcome"]
    assert campaigns.overviews() == []


def test_start_leads_to_the_campaign(runs: list[int]) -> None:
    started = start(guidelines="Be fair.", ask_reason=True, order="in_order")
    assert 'data-next="campaigns?campaign=1"' in started["outcome"]
    campaign = campaigns.overview(1).campaign
    assert (campaign.name, campaign.guidelines, campaign.ask_reason) == (
        "Reference / dpo / hypo",
        "Be fair.",
        True,
    )
    assert told(started) == {}


# --- one campaign ----------------------------------------------------------------------------


def test_one_campaign_shows_its_progress(runs: list[int]) -> None:
    campaign_id = campaign_setup.create(contenders=3, guidelines="<b>fair</b>")
    here = at(campaign=campaign_id)
    shown = page.open_page(None, here)
    assert "0 of 6 answers written" in shown["progress"]
    assert "No generate worker is running" in shown["progress"]
    assert "&lt;b&gt;fair" in shown["setup"]
    assert "Nobody has voted yet" in shown["votes"]
    judging = {"judges", "judge_new"}
    assert visible(shown) == {"one", "pause", "extend", "edit", "close", "names", "report"} | judging
    assert page.look_again(0, shown["seen"], None, None, here) == {}
    campaign_setup.write_answers(campaign_id, lambda number, position: "same", failed=[(0, 0)])
    offers = labelling.take(campaign_id, user="ada").offers
    assert offers == []
    later = page.look_again(0, shown["seen"], None, None, here)
    assert "1 answer failed" in later["progress"]
    assert "It does not fit." in later["progress"]
    assert later["timer"].value == 10


def test_votes_by_person_and_by_pair(runs: list[int]) -> None:
    campaign_id = campaign_setup.ready(contenders=3)
    offer = labelling.take(campaign_id, user="ada", count=1).offers[0]
    labelling.vote(offer.slot_id, "A", user="ada", seconds=4.0)
    votes = page.open_page(None, at(campaign=campaign_id))["votes"]
    assert "ada" in votes
    assert "4.0 s" in votes
    assert "1 of 2" in votes


def test_only_the_owner_changes_a_campaign(runs: list[int]) -> None:
    campaign_id = campaign_setup.ready(user="ada")
    bob = at("bob", campaign=campaign_id)
    assert visible(page.open_page(None, bob)) == {"one", "names", "report"}
    assert "only its owner" in changing.pause(bob)["message"]["value"]
    assert (
        "only its owner"
        in changing.save_edit("New", "", False, None, None, None, 0, 0, bob)["edit_message"]["value"]
    )
    assert "only its owner" in changing.confirmed("close", bob)["message"]["value"]


def test_pause_resume_and_close(runs: list[int]) -> None:
    here = at(campaign=campaign_setup.create())
    paused = changing.pause(here)
    assert paused["resume"]["visible"]
    assert not paused["pause"]["visible"]
    assert "paused" in paused["header"]
    assert changing.resume(here)["pause"]["visible"]
    asked = changing.ask_close(here)
    assert "4 answers that are not written are stopped" in asked["question"]
    closed = changing.confirmed("close", here)
    assert "closed" in closed["header"]
    assert visible(closed) == {"one", "edit", "names", "report", "judges", "judge_new"}
    assert not closed["timer"].active


def test_the_names_end_blind_voting(runs: list[int]) -> None:
    campaign_id = campaign_setup.ready()
    here = at(campaign=campaign_id)
    assert "You cannot vote in this campaign afterwards" in changing.ask_names(here)["question"]
    shown = changing.confirmed("names", here)
    assert "you cannot vote here" in shown["progress"]
    assert not shown["names"]["visible"]
    with read_session() as session:
        assert names.seen_in_campaign(campaign_id, "local", session=session)


def test_edit(runs: list[int]) -> None:
    here = at(campaign=campaign_setup.ready(name="Old", guidelines="Old rules"))
    opened = changing.open_edit(here)
    assert (opened["edit_name"], opened["edit_guidelines"]) == ("Old", "Old rules")
    assert (
        "needs a name"
        in changing.save_edit("", "", False, None, None, None, 0, 0, here)["edit_message"]["value"]
    )
    refused = changing.save_edit("New", "", False, None, None, None, 0, 51, here)["edit_message"]["value"]
    assert "Attention checks, % must be between 0 and 50." in refused
    saved = changing.save_edit("New", "New rules", True, None, ["kind"], None, 10, None, here)
    again = changing.open_edit(here)
    assert (again["edit_repeats"], again["edit_aspects"]["value"]) == (10, ["kind"])
    assert "New" in saved["header"]
    assert "New rules" in saved["setup"]
    assert not saved["editing"]["visible"]


def test_extend(runs: list[int]) -> None:
    here = at(campaign=campaign_setup.ready())
    assert changing.open_extend(here)["more_votes"] == 1
    assert "between 1 and 50" in changing.save_votes(None, here)["votes_message"]["value"]
    assert "0 of 6 votes" in changing.save_votes(3, here)["progress"]
    refused = changing.add_prompts(here, "pasted", None, None, None, "")
    assert "no prompts" in refused["prompts_message"]["value"]
    added = changing.add_prompts(here, "pasted", None, None, None, "Three?\nFour?")
    assert "2 prompts are added." in added["message"]["value"]
    assert "4 of 8 answers" in added["progress"]


def test_handlers_take_their_request(engine: Engine) -> None:
    """Gradio passes the request by its place among the parameters."""
    from gradio.helpers import special_args

    for handler in (making.start, page.preview, changing.add_prompts):
        request = gr.Request(username="local")
        given, *_ = special_args(handler, inputs=[1, 2], request=request)
        assert given == [request, 1, 2]


def judged(*, told: bool) -> int:
    """A campaign of three contenders with the votes of two who agree; with `told`, its names were shown."""
    campaign_id = campaign_setup.ready(contenders=3, votes_wanted=2)
    for user in ("ada", "bob"):
        while offers := labelling.take(campaign_id, user=user).offers:
            for offer in offers:
                better = "A" if offer.answers[0] < offer.answers[1] else "B"
                labelling.vote(offer.slot_id, better, user=user, seconds=2)
    if told:
        campaigns.show_names(campaign_id)
    return campaign_id


@pytest.mark.usefixtures("engine")
def test_the_results_wait_until_the_names_are_shown() -> None:
    campaign_id = judged(told=False)
    before = one.show("", at(campaign=campaign_id))
    assert before["results"] == ""
    assert 'href="label?campaign=' in before["header"]
    assert "Krippendorff&#39;s alpha" in before["quality"]  # it tells nothing about the contenders
    campaigns.show_names(campaign_id)
    after = one.show("", at(campaign=campaign_id))
    assert "12 decisions between two answers to 2 prompts" in after["results"]
    assert "Win rates against Reference" in after["results"]
    assert "label?campaign=" not in after["header"]


@pytest.mark.usefixtures("engine")
def test_votes_become_a_dataset_of_the_campaign_alone() -> None:
    judged(told=True)
    campaign_id = judged(told=True)
    shown = one.show("", at(campaign=campaign_id))
    assert shown["next_round"]["visible"]
    assert "The votes make 12 training pairs" in shown["pairs"]
    asked = ("trl", "csv", True, False, True, at(campaign=campaign_id))
    address = next_round.download(*asked)["address"]
    assert address.startswith(f"api/v1/votes/export?campaign_id={campaign_id}&format=trl&file_type=csv")
    assert address.endswith("&archive=true&merge=true")
    made = next_round.use_as_dataset("round", False, False, False, at(campaign=campaign_id))["made"]
    assert "holds 12 pairs" in made
    assert "launch?dataset=" in made
    assert "start=run" in made
    assert "start=demo" in made, "the original reference"
    merged = next_round.use_as_dataset("merged", False, True, False, at(campaign=campaign_id))["made"]
    assert "holds 6 pairs" in merged
    hidden = judged(told=False)
    assert (
        "start=run"
        not in next_round.use_as_dataset("round", False, False, False, at(campaign=hidden))["made"]
    )


@pytest.mark.usefixtures("engine")
def test_the_next_round_opens_in_launch() -> None:
    campaign_id = judged(told=True)
    shown = one.show("", at(campaign=campaign_id))
    (_, original), *policies = shown["start"]["choices"]
    assert original == next_round.ORIGINAL
    base = policies[0][1]
    for start, merge, bad, expected in (
        (original, False, False, "start=demo"),
        (base, True, False, f"start={quote(base, safe='')}"),
        ("run:999", False, True, "method=kto&start=demo"),
    ):
        given = ("round", False, merge, bad, start, at(campaign=campaign_id))
        address = next_round.launch(*given)["address"]
        assert re.fullmatch(rf"launch\?dataset=\d+&{re.escape(expected)}", address), address
    with pytest.raises(gr.Error, match="name"):
        next_round.launch("", False, False, False, original, at(campaign=campaign_id))
    hidden = one.show("", at(campaign=judged(told=False)))
    assert [value for _, value in hidden["start"]["choices"]] == [original]


@pytest.mark.usefixtures("engine")
def test_there_is_no_next_round_without_votes() -> None:
    campaign_id = campaign_setup.ready()
    shown = one.show("", at(campaign=campaign_id))
    assert not shown["next_round"]["visible"]
    assert (shown["results"], shown["quality"]) == ("", "")


def test_shares_of_controls_are_given_in_percent(runs: list[int]) -> None:
    assert "Repeats, % must be between 0 and 50." in told(start(repeat_share=51))["repeat_share"]
    start(repeat_share=10, check_share=5)
    campaign = campaigns.overview(1).campaign
    assert (campaign.repeat_share, campaign.check_share) == (0.1, 0.05)
    assert "10 for every 100 comparisons" in one.show("", at(campaign=1))["setup"]


def test_the_owner_sees_who_failed_a_check(runs: list[int]) -> None:
    campaign_id = campaign_setup.ready(
        prompts=[f"{n}?" for n in range(8)], check_share=0.5, user="ada", votes_wanted=2
    )
    while offers := labelling.take(campaign_id, user="bob").offers:
        labelling.vote(offers[0].slot_id, "tie", user="bob", seconds=2)
    mine = one.show("", at("ada", campaign=campaign_id))["quality"]
    assert "0 of 4 (0 to 49%)" in mine
    assert "check not passed" in mine
    assert "check not passed" not in one.show("", at("bob", campaign=campaign_id))["quality"]


def test_the_ranking_by_an_aspect(runs: list[int]) -> None:
    campaign_id = campaign_setup.ready(aspects=["helpful"])
    here = at(campaign=campaign_id)
    assert not one.show("", here)["aspect"]["visible"]
    labelling.vote(labelling.take(campaign_id).offers[0].slot_id, "A")
    campaigns.show_names(campaign_id)
    shown = one.show("", here)
    assert shown["aspect"]["choices"] == [("Better answer", ""), ("helpful", "helpful")]
    assert (shown["aspect"]["visible"], shown["aspect"]["value"]) == (True, "")
    asked = page.count_by("helpful", False, here)
    assert asked["aspect"]["value"] == "helpful"
    assert "No vote says yet" in asked["results"]
    assert page.look_again(0, asked["seen"], "helpful", False, here) == {}


def test_the_owner_decides_a_disagreement(runs: list[int]) -> None:
    campaign_id = campaign_setup.ready(votes_wanted=2)
    here = at(campaign=campaign_id)
    assert not one.show("", here)["disagreements"]["visible"]
    for user, choice in (("ada", "A"), ("bob", "tie")):
        for offer in labelling.take(campaign_id, user=user).offers:
            labelling.vote(offer.slot_id, choice, user=user, reason="So.")
    shown = one.show("", here)
    assert shown["disagreements"]["visible"]
    assert "People differ on 2 comparisons; 2 of them to decide." in shown["queue"]
    assert [number for _, number in shown["which"]["choices"]] == [1, 2]
    case = disagreements.open_case(1, here)
    assert [value for _, value in case["best"]["choices"]] == ["A", "tie", "both bad", "B"]
    assert "Voter 2" in case["case"]
    assert "ada" not in case["case"]
    assert "Choose a verdict first." in page.decide(1, False, None, None, "", here)["case_message"]["value"]
    done = page.decide(1, False, "both bad", "A", "Neither.", here)
    assert "Comparison 1 is decided." in done["case_message"]["value"]
    assert (done["which"]["value"], done["adjudicated"]["visible"]) == (2, True)
    again = disagreements.open_case(1, here)
    assert (again["best"]["value"], again["verdict_reason"], again["undo_verdict"]["visible"]) == (
        "both bad", "Neither.", True,
    )  # fmt: skip
    last = page.decide(2, False, "A", None, "", here)
    assert "It was the last one." in last["case_message"]["value"]
    assert not last["deciding"]["visible"]
    counted = [page.count_by(None, adjudicated, here)["pairs"] for adjudicated in (False, True)]
    assert counted[0] != counted[1]
    assert "adjudicated=true" in next_round.download("trl", "csv", False, True, False, here)["address"]
    assert "is taken back" in page.undo_verdict(2, False, here)["case_message"]["value"]
    campaigns.show_names(campaign_id)
    assert "you can decide none of them" in one.show("", here)["queue"]
    assert "would not be blind" in page.decide(2, False, "A", None, "", here)["case_message"]["value"]


def test_others_do_not_see_the_disagreements(runs: list[int]) -> None:
    campaign_id = campaign_setup.ready(user="ada")
    assert one.show("", at("bob", campaign=campaign_id))["disagreements"] == gr.update(visible=False)
