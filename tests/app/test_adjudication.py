"""Adjudication: which disagreements who may decide, and where verdicts count."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app import adjudication, campaigns, labelling
from app.adjudication import Case
from app.errors import InvalidInput, NotFound, Refused
from app.exports import labels as exports
from app.exports.labels import Export, count_trl
from app.exports.options import Options
from app.exports.raw_votes import raw_row
from app.quality import read_quality
from app.ranking import Ranking, read_ranking
from app.store import label_batches
from app.store.adjudication_models import Adjudication
from app.store.db import read_session
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus
from app.store.label_queries import VoteFilter
from app.store.models import DatasetPair, Label, Slot
from tests.app import campaign_setup

pytestmark = pytest.mark.usefixtures("engine")
PEOPLE = Options(people=True)
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "known_voters", lambda: ["ada", "bob", "eve", "local"])


def vote(campaign_id: int, user: str, *best: int, reason: str = "") -> None:
    """Vote on the comparisons in order for these contenders."""
    for wanted in best:
        offer = labelling.take(campaign_id, user=user, count=1).offers[0]
        with read_session() as session:
            order = session.get_one(Slot, offer.slot_id).shown_order
        worst = "ABC"[order.index((wanted + 1) % 3)] if len(order) > 2 else ""
        labelling.vote(offer.slot_id, "ABC"[order.index(wanted)], worst=worst, user=user, reason=reason)


def disputed(**given: Any) -> int:
    """A campaign of eve's with three comparisons; ada and bob differ on the second and the third."""
    usual = {"order": CampaignOrder.IN_ORDER, "votes_wanted": 2, "user": "eve", "voters": ["ada", "bob"]}
    campaign_id = campaign_setup.ready(**{"prompts": ["1?", "2?", "3?"], **usual, **given})
    vote(campaign_id, "ada", 0, 0, 0, reason="Kinder.")
    vote(campaign_id, "bob", 0, 1, 1)
    return campaign_id


def decide(campaign_id: int, number: int, best: int, *, user: str = "eve", **given: str) -> Case:
    """Decide for a contender."""
    case = adjudication.case(campaign_id, number, user=user)
    letter = "ABC"[[text.startswith(f"Answer {best} ") for text in case.answers].index(True)]
    adjudication.decide(campaign_id, number, letter, user=user, **given)
    return adjudication.case(campaign_id, number, user=user)


def board(campaign_id: int, *, adjudicated: bool = False, viewer: str | None = None) -> Ranking:
    with read_session() as session:
        return read_ranking(session=session, viewer=viewer, campaign_id=campaign_id, adjudicated=adjudicated)


# --- the queue ---------------------------------------------------------------------------------------


def test_disagreements_are_listed_and_shown_without_names() -> None:
    campaign_id = disputed()
    assert [(one.number, one.votes, one.author) for one in adjudication.queue(campaign_id, user="eve")] == [
        (2, 2, ""), (3, 2, ""),
    ]  # fmt: skip
    case = adjudication.case(campaign_id, 2, user="eve")
    assert case == adjudication.case(campaign_id, 2, user="eve")  # the same sides at every look
    zero = "AB"[[text.startswith("Answer 0 ") for text in case.answers].index(True)]
    assert {(said.choice == zero, said.reason) for said in case.votes} == {(True, "Kinder."), (False, "")}
    assert "ada" not in str(case)
    decide(campaign_id, 2, 1)
    assert [(one.number, one.author) for one in adjudication.queue(campaign_id, user="eve")] == [
        (3, ""), (2, "eve"),
    ]  # fmt: skip


@SQLITE
def test_who_may_decide() -> None:
    campaign_id = disputed()
    with pytest.raises(Refused, match="This campaign is eve's"):
        adjudication.queue(campaign_id, user="ada")
    campaigns.edit(campaign_id, user="eve", adjudicators=["ada"])
    decide(campaign_id, 2, 0, user="ada")
    with pytest.raises(Refused, match="ada has decided this comparison"):
        adjudication.decide(campaign_id, 2, "A", user="eve")
    decide(campaign_id, 3, 0, user="eve")
    with pytest.raises(Refused, match="This verdict is eve's"):
        adjudication.undo(campaign_id, 3, user="ada")
    adjudication.undo(campaign_id, 2, user="eve")  # the owner may take back everybody's
    assert adjudication.case(campaign_id, 2, user="eve").verdict is None
    with pytest.raises(InvalidInput, match="adjudicators names 'nobody'"):
        campaigns.edit(campaign_id, user="eve", adjudicators=["nobody"])


@SQLITE
def test_what_cannot_be_decided() -> None:
    campaign_id = disputed()
    with pytest.raises(Refused, match="People do not differ on comparison 1"):
        adjudication.case(campaign_id, 1, user="eve")
    with pytest.raises(NotFound, match="has no comparison 9"):
        adjudication.decide(campaign_id, 9, "A", user="eve")
    with pytest.raises(NotFound, match="no verdict to take back"):
        adjudication.undo(campaign_id, 2, user="eve")
    with pytest.raises(InvalidInput, match="Name the best answer"):
        adjudication.decide(campaign_id, 2, "D", user="eve")
    campaigns.show_names(campaign_id, user="eve")
    with pytest.raises(Refused, match="a verdict would not be blind"):
        adjudication.decide(campaign_id, 2, "A", user="eve")


@SQLITE
def test_who_may_still_vote_votes_first() -> None:
    campaign_id = disputed(votes_wanted=3, voters=[])
    with pytest.raises(Refused, match="You may still vote on comparison 2"):
        adjudication.case(campaign_id, 2, user="eve")
    assert adjudication.queue(campaign_id, user="eve") == []
    vote(campaign_id, "eve", 0, 0)
    held = labelling.take(campaign_id, user="eve").offers
    assert len(held) == 1
    assert [one.number for one in adjudication.queue(campaign_id, user="eve")] == [2]
    campaigns.set_status(campaign_id, CampaignStatus.CLOSED, user="eve")
    assert [one.number for one in adjudication.queue(campaign_id, user="eve")] == [2, 3]


@SQLITE
def test_who_has_decided_a_comparison_is_not_asked_to_vote_on_it() -> None:
    campaign_id = disputed(voters=[])
    decide(campaign_id, 2, 0)
    campaigns.edit(campaign_id, user="eve", votes_wanted=3)
    assert labelling.take(campaign_id, user="eve").mine.left == 2


def test_who_has_seen_the_votes_of_others_votes_no_more() -> None:
    campaign_id = disputed(votes_wanted=3, voters=[])
    offers = labelling.take(campaign_id, user="eve", count=3).offers
    first, second, third = (offer.slot_id for offer in offers)
    labelling.vote(first, "A", user="eve")
    labelling.vote(second, "A", user="eve")
    labelling.skip(third, user="eve")
    with pytest.raises(Refused, match="that you skipped can be decided once others"):
        adjudication.case(campaign_id, 3, user="eve")  # the skip can still be undone
    decide(campaign_id, 2, 0)
    labelling.vote(second, "A", user="eve")  # the same vote sent again
    with pytest.raises(Refused, match="You have decided this comparison as an adjudicator"):
        labelling.vote(second, "B", user="eve")
    labelling.undo(second, user="eve")
    with pytest.raises(Refused, match="You have decided this comparison as an adjudicator"):
        labelling.vote(second, "B", user="eve")
    campaigns.edit(campaign_id, user="eve", votes_wanted=2)
    decide(campaign_id, 3, 0)


# --- where verdicts count ----------------------------------------------------------------------------


def test_a_verdict_is_no_vote_and_counts_where_it_is_asked_for() -> None:
    campaign_id = disputed()
    before = board(campaign_id)
    with read_session() as session:
        agreement = read_quality(campaign_id, session=session).agreement
    decide(campaign_id, 2, 1, reason="More to the point.")
    decide(campaign_id, 3, 1)
    with read_session() as session:
        assert read_quality(campaign_id, session=session).agreement == agreement
        assert len(session.scalars(select(Label.id)).all()) == 6
    assert campaigns.overview(campaign_id).progress.votes == 6
    assert board(campaign_id).games == before.games == 6
    found = board(campaign_id, adjudicated=True)
    assert found.games == 4  # two votes on the first comparison, and a verdict on each of the others
    assert found.board.rates[0, 1] == 0.5
    assert before.board.rates[0, 1] in (2 / 6, 4 / 6)
    assert board(campaign_id, adjudicated=True, viewer="ada").games == 0
    campaigns.show_names(campaign_id, user="ada")
    assert board(campaign_id, adjudicated=True, viewer="ada").games == 4
    adjudication.undo(campaign_id, 3, user="eve")
    assert board(campaign_id, adjudicated=True).games == 5
    with read_session() as session:
        assert len(session.scalars(select(Adjudication.id)).all()) == 2  # the history keeps it


@SQLITE
def test_a_changed_verdict_replaces_its_own() -> None:
    campaign_id = disputed()
    decide(campaign_id, 2, 1)
    changed = decide(campaign_id, 2, 0, reason="Read again.")
    assert changed.verdict is not None
    assert (changed.verdict.reason, changed.author) == ("Read again.", "eve")
    with read_session() as session:
        kept = session.scalars(select(Adjudication.withdrawn_at).order_by(Adjudication.id)).all()
    assert [at is None for at in kept] == [False, True]
    assert board(campaign_id, adjudicated=True).games == 5


@SQLITE
def test_training_pairs_with_verdicts_in_place_of_votes(tmp_path: Path) -> None:
    campaign_id = disputed()
    decide(campaign_id, 2, 1)
    adjudication.decide(campaign_id, 3, "tie", user="eve")
    only = VoteFilter(campaign_id=campaign_id, adjudicated=True)
    counts = count_trl(only=only)
    assert (counts.rows, counts.left_out["ties"]) == (3, 1)
    assert count_trl(only=VoteFilter(campaign_id=campaign_id)).rows == 6
    added = exports.use_as_dataset("votes", only=only)
    with read_session() as session:
        chosen = session.scalars(select(DatasetPair.chosen).where(DatasetPair.dataset_id == added.id)).all()
    assert added.rows == 3
    assert sorted(chosen) == ["Answer 0 to question 0."] * 2 + ["Answer 1 to question 1."]
    with pytest.raises(InvalidInput, match="Adjudicated verdicts are those of a campaign"):
        Export("trl", "jsonl", only=VoteFilter(adjudicated=True))
    with pytest.raises(InvalidInput, match="in trl only"):
        Export("kto", "jsonl", only=only)
    merged = Export("trl", "jsonl", only=only, options=Options(merge=True))
    assert len(b"".join(merged.pieces()).splitlines()) == 2  # the first comparison, and the second's verdict
    with pytest.raises(InvalidInput, match="no voter, choice or run"):
        exports.use_as_dataset("more", only=VoteFilter(campaign_id=campaign_id, user="ada", adjudicated=True))


@SQLITE
def test_raw_rows_tell_the_verdict_on_their_comparison() -> None:
    campaign_id = disputed()
    decide(campaign_id, 2, 1, reason="Clear.")
    with read_session() as session:
        rows = [raw_row(one, PEOPLE) for one in label_batches.after(0, session=session)]
        hidden = [raw_row(one, PEOPLE) for one in label_batches.after(0, session=session, viewer="ada")]
    told = [(row["best"] == row["adjudicated"]["best"], row["user"]) for row in rows if row["adjudicated"]]
    assert sorted(told) == [(False, "ada"), (True, "bob")]
    assert [row["adjudicated"] for row in hidden] == [None] * 6


@SQLITE
def test_the_best_and_the_worst_of_three() -> None:
    campaign_id = disputed(contenders=3, form=CampaignForm.BEST_WORST)
    case = adjudication.case(campaign_id, 2, user="eve")
    assert {len(said.worst) for said in case.votes} == {1}
    with pytest.raises(InvalidInput, match="Name the worst answer"):
        adjudication.decide(campaign_id, 2, "A", user="eve")
    adjudication.decide(campaign_id, 2, "A", worst="C", user="eve")
    verdict = adjudication.case(campaign_id, 2, user="eve").verdict
    assert verdict is not None
    assert (verdict.choice, verdict.worst) == ("A", "C")
    assert board(campaign_id, adjudicated=True).games == 3 * 4 + 3
