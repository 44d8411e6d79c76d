"""Aspects of a vote: names, what is stored, boards and agreement by aspect, history and exports."""

from typing import Any

import pytest
from sqlalchemy import select

from app import answers, campaigns, labelling
from app.errors import InvalidInput, Refused
from app.exports.raw_votes import raw_row
from app.quality import read_quality
from app.ranking import Ranking, read_ranking
from app.store import label_batches, label_queries, tallies
from app.store.aspects import checked_names
from app.store.db import read_session, write_session
from app.store.enums import CampaignForm, CampaignOrder
from app.store.models import AspectPair, ControlVote, Label, LabelVersion, Slot
from tests.app import campaign_setup

pytestmark = pytest.mark.usefixtures("engine")
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def ready(prompts: int = 6, **given: Any) -> int:
    asked = [f"{n}?" for n in range(prompts)]
    usual = {"aspects": ["helpful", "harmless"], "order": CampaignOrder.IN_ORDER, "votes_wanted": 3}
    return campaign_setup.ready(**{"prompts": asked, **usual, **given})


def prefer(campaign_id: int, user: str, *, times: int = 1, **best: int | str) -> list[Any]:
    """Vote for contender 0, and for the given contenders or words in the aspects."""
    found = []
    for _ in range(times):
        offer = labelling.take(campaign_id, user=user, count=1).offers[0]
        with read_session() as session:
            order = session.get_one(Slot, offer.slot_id).shown_order
        said = {name: "ABC"[order.index(at)] if isinstance(at, int) else at for name, at in best.items()}
        worst = "ABC"[order.index(len(order) - 1)] if len(order) > 2 else ""
        choice = "ABC"[order.index(0)]
        found.append(labelling.vote(offer.slot_id, choice, worst=worst, user=user, aspects=said))
    return found


def ranking(campaign_id: int, aspect: str | None = None) -> Ranking:
    with read_session() as session:
        return read_ranking(session=session, campaign_id=campaign_id, aspect=aspect)


# --- names -------------------------------------------------------------------------------------------


@SQLITE
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a", "b", "c", "d", "e", "f"], "more than 5 names"),
        (["x" * 31], "more than 30 characters"),
        (["Helpful", "helpful"], "names 'Helpful' twice"),
    ],
)
def test_names_are_few_short_and_different(names: list[str], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        ready(1, aspects=names)
    assert refused.value.field == "aspects"
    assert checked_names([" helpful ", "", "my\nown"]) == ["helpful", "my own"]


@SQLITE
def test_aspects_are_added_at_any_time_and_removed_before_the_first_vote() -> None:
    campaign_id = ready(aspects=["helpful"])
    campaigns.edit(campaign_id, aspects=["clear"])
    prefer(campaign_id, "ada", clear=0)
    campaigns.edit(campaign_id, aspects=["clear", "short"])
    with pytest.raises(Refused, match="Votes have been asked about 'clear'"):
        campaigns.edit(campaign_id, aspects=["short"])
    prefer(campaign_id, "ada", clear=0, short=1)
    with read_session() as session:
        said = session.scalars(select(Label.aspects).order_by(Label.id)).all()
    assert [sorted(one) for one in said] == [["clear"], ["clear", "short"]]  # the first was not asked
    assert (ranking(campaign_id, "clear").games, ranking(campaign_id, "short").games) == (2, 1)


# --- votes -------------------------------------------------------------------------------------------


@SQLITE
@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"kind": "A"}, "'kind' is no aspect of this campaign; it asks for helpful, harmless"),
        ({"helpful": "C"}, "For 'helpful' name one of the answers A, B"),
        ({"helpful": "better"}, "name a letter of an answer, tie, or not applicable"),
    ],
)
def test_what_a_vote_says_of_aspects_is_checked(said: dict[str, str], sentence: str) -> None:
    offer = labelling.take(ready()).offers[0]
    with pytest.raises(InvalidInput, match=sentence):
        labelling.vote(offer.slot_id, "A", aspects=said)
    assert labelling.take(ready()).mine.voted == 0


def test_an_aspect_has_a_board_and_an_agreement_of_its_own() -> None:
    campaign_id = ready()
    prefer(campaign_id, "ada", times=6, helpful=1, harmless="tie")
    prefer(campaign_id, "bob", times=3, helpful=1, harmless="not applicable")
    prefer(campaign_id, "bob", times=3, helpful=0)  # harmless was not asked
    better, helpful, harmless = (ranking(campaign_id, aspect) for aspect in (None, "helpful", "harmless"))
    assert (better.games, helpful.games, harmless.games) == (12, 12, 6)
    assert better.names[better.order[0]] == "Reference"
    assert helpful.names[helpful.order[0]] == "dpo run"
    assert helpful.board.rates[0, 1] in (0.25, 0.75)
    with read_session() as session:
        found = {one.name: one.agreement for one in read_quality(campaign_id, session=session).aspects}
    assert (found["helpful"].pairs, found["helpful"].rate) == (6, 0.5)
    assert (found["harmless"].pairs, found["harmless"].rate) == (0, None)


@SQLITE
def test_the_best_of_three_in_an_aspect_beats_both_others() -> None:
    campaign_id = ready(1, contenders=3, form=CampaignForm.BEST_WORST)
    prefer(campaign_id, "ada", helpful=2)
    assert ranking(campaign_id).games == 3
    found = ranking(campaign_id, "helpful")
    assert found.games == 2
    assert found.names[found.order[0]] == "hypo run"


def test_a_changed_aspect_is_a_changed_vote() -> None:
    campaign_id = ready(1)
    (first,) = prefer(campaign_id, "ada", helpful=0)
    offer = labelling.take(campaign_id, user="bob").offers[0]
    labelling.vote(offer.slot_id, "A", user="bob", aspects={"helpful": "A"})
    with read_session() as session:
        slot = session.scalars(select(Slot.id).where(Slot.user_id == first.user_id)).one()
        letter = "AB"[first.shown.index(first.best_id)]
    assert ranking(campaign_id, "harmless").games == 0
    labelling.vote(slot, letter, user="ada", aspects={"helpful": "tie", "harmless": "tie"})
    assert ranking(campaign_id, "harmless").games == 1
    with read_session() as session:
        (kept,) = session.scalars(select(LabelVersion)).all()
        assert kept.aspects == {"helpful": first.best_id}
        with write_session() as writing:
            tallies.count([first.id], session=writing)  # counted again, it says the same
        (vote, _) = label_queries.votes(session=session)[::-1]
    assert vote.label.aspects == {"helpful": "tie", "harmless": "tie"}
    answers.change(first.id, "tie", user="ada")  # as on the results page, which asks for no aspects
    with read_session() as session:
        assert session.get_one(Label, first.id).aspects == vote.label.aspects
    labelling.undo(slot, user="ada")
    with read_session() as session:
        assert {row.label_id for row in session.scalars(select(AspectPair))} != {first.id}
        assert ranking(campaign_id, "harmless").games == 0


@SQLITE
def test_raw_rows_have_the_aspects_and_hide_them_with_the_names() -> None:
    campaign_id = ready(1)
    (label,) = prefer(campaign_id, "ada", helpful=0, harmless="not applicable")
    letter = "AB"[label.shown.index(label.best_id)]
    with read_session() as session:
        (open_row,) = label_batches.after(0, session=session)
        (hidden,) = label_batches.after(0, session=session, viewer="eve")
    assert raw_row(open_row)["aspects"] == [
        {"name": "helpful", "winner": letter},
        {"name": "harmless", "winner": "not applicable"},
    ]
    assert raw_row(hidden)["aspects"] is None


@SQLITE
def test_a_repeat_is_asked_for_its_aspects_and_they_are_no_votes() -> None:
    campaign_id = ready(2, repeat_share=0.5)
    while offers := labelling.take(campaign_id).offers:
        labelling.vote(offers[0].slot_id, "A", aspects={"helpful": "A"})
    with read_session() as session:
        (control,) = session.scalars(select(ControlVote)).all()
    assert control.aspects == {"helpful": control.shown[0]}
    assert ranking(campaign_id, "helpful").games == 2
