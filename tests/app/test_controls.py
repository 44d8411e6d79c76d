"""Repeats and attention checks: when they come, what they show, that they are no votes, and what they say."""

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from app import answers, campaigns, labelling
from app.errors import InvalidInput, Refused
from app.exports.labels import count_trl
from app.labelling import Offer
from app.quality import Controls, Share, read_quality
from app.store import label_queries
from app.store.db import read_session, write_session
from app.store.enums import CampaignForm, CampaignStatus, Choice, SlotKind, SlotStatus
from app.store.models import Comparison, ControlVote, Generation, Label, Slot
from tests.app import campaign_setup
from tests.app.test_labelling import expire

pytestmark = pytest.mark.usefixtures("engine")
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def ready(prompts: int = 20, **given: Any) -> int:
    return campaign_setup.ready(prompts=[f"Question {n}?" for n in range(prompts)], **given)


def slot_of(offer: Offer) -> Slot:
    with read_session() as session:
        return session.get_one(Slot, offer.slot_id)


def judge(campaign_id: int, *, user: str = "local", held: int = 4) -> Iterator[Offer]:
    """Yield each offer that a person gets, until there are none; whoever iterates votes on it."""
    while offers := labelling.take(campaign_id, user=user, count=held).offers:
        yield offers[0]


def judge_all(campaign_id: int, choice: str = "A", **given: Any) -> list[Slot]:
    """Vote alike on everything; the slots, in order."""
    found = []
    for offer in judge(campaign_id, **given):
        found.append(slot_of(offer))
        labelling.vote(offer.slot_id, choice, user=given.get("user", "local"), seconds=1)
    return found


def first(campaign_id: int, kind: SlotKind) -> Offer:
    """Judge until a control of a kind comes."""
    for offer in judge(campaign_id):
        if slot_of(offer).kind is kind:
            return offer
        labelling.vote(offer.slot_id, "A")
    raise AssertionError(f"no {kind.value} came")


def controls(campaign_id: int, reader: str = "local") -> Controls | None:
    with read_session() as session:
        return read_quality(campaign_id, session=session, reader=reader).controls


# --- when they come --------------------------------------------------------------------------


def test_controls_come_at_their_share_and_are_no_votes() -> None:
    campaign_id = ready(repeat_share=0.2, check_share=0.1)
    left = labelling.take(campaign_id).mine.left
    assert left == 20 + 4 + 2
    slots = []
    for number, offer in enumerate(judge(campaign_id)):
        slots.append(slot_of(offer))
        mine = labelling.take(campaign_id, count=4).mine
        assert (mine.voted, mine.left) == (number, left - number)  # no step tells a control from a comparison
        labelling.vote(offer.slot_id, "A", seconds=1)
    kinds = [slot.kind for slot in slots]
    assert (kinds.count(SlotKind.TASK), kinds.count(SlotKind.REPEAT), kinds.count(SlotKind.CHECK)) == (
        20,
        4,
        2,
    )
    assert labelling.take(campaign_id).mine.left == 0
    progress = campaigns.overview(campaign_id).progress
    assert (progress.votes, progress.votes_wanted, progress.people[0].votes) == (20, 20, 20)
    with read_session() as session:
        assert len(session.scalars(select(Label)).all()) == 20
        assert len(label_queries.votes(session=session, limit=50)) == 20
    assert count_trl().rows == 20


@SQLITE
def test_a_control_shows_what_was_judged_ten_judgements_ago_and_follows_a_comparison() -> None:
    slots = judge_all(ready(30, repeat_share=0.3, check_share=0.1))
    at = {slot.comparison_id: place for place, slot in enumerate(slots) if slot.kind is SlotKind.TASK}
    places = [place for place, slot in enumerate(slots) if slot.kind is not SlotKind.TASK]
    assert len(places) == 12
    assert all(place - at[slots[place].comparison_id] > 10 for place in places)
    assert len({slots[place].comparison_id for place in places}) == 12
    assert all(after - before > 1 for before, after in pairwise(places) if after < 40)


@SQLITE
def test_in_a_short_campaign_controls_come_as_far_back_as_possible() -> None:
    slots = judge_all(ready(6, repeat_share=0.5))
    at = {slot.comparison_id: place for place, slot in enumerate(slots) if slot.kind is SlotKind.TASK}
    repeats = [place for place, slot in enumerate(slots) if slot.kind is SlotKind.REPEAT]
    assert len(repeats) == 3
    assert all(place - at[slots[place].comparison_id] > 3 for place in repeats)
    assert [slot.kind for slot in judge_all(ready(1, repeat_share=0.5, check_share=0.5))] == [SlotKind.TASK]


@SQLITE
def test_a_share_that_is_raised_counts_from_there_on() -> None:
    campaign_id = ready(30)
    for _ in range(20):
        labelling.vote(labelling.take(campaign_id, count=1).offers[0].slot_id, "A")
    campaigns.edit(campaign_id, repeat_share=0.2)
    kinds = [slot.kind for slot in judge_all(campaign_id)]
    assert (kinds.count(SlotKind.TASK), kinds.count(SlotKind.REPEAT)) == (10, 2)


@SQLITE
@pytest.mark.parametrize("share", [-0.1, 0.51, float("nan")])
def test_a_share_is_between_nothing_and_one_half(share: float) -> None:
    with pytest.raises(InvalidInput, match=r"check_share must be between 0 and 0\.5"):
        ready(1, check_share=share)
    campaign_id = ready(1)
    with pytest.raises(InvalidInput, match=r"repeat_share must be between 0 and 0\.5"):
        campaigns.edit(campaign_id, repeat_share=share)


# --- what they show --------------------------------------------------------------------------


def answers_of(slot: Slot) -> list[Generation]:
    with read_session() as session:
        return [session.get_one(Generation, key) for key in slot.answer_ids or []]


@SQLITE
@pytest.mark.parametrize(("contenders", "form"), [(2, CampaignForm.PAIRS), (3, CampaignForm.BEST_WORST)])
def test_a_check_shows_one_contenders_answers_to_different_prompts(
    contenders: int, form: CampaignForm
) -> None:
    campaign_id = ready(8, contenders=contenders, form=form, check_share=0.5)
    checks = 0
    for offer in judge(campaign_id):
        slot = slot_of(offer)
        if slot.kind is SlotKind.CHECK:
            checks += 1
            shown = answers_of(slot)
            assert offer.answers == [answer.text for answer in shown]
            assert len(shown) == contenders
            assert len({answer.position for answer in shown}) == 1
            assert len({answer.prompt_id for answer in shown}) == contenders
            with read_session() as session:
                comparison = session.get_one(Comparison, slot.comparison_id)
            assert [answer.comparison_id for answer in shown].count(comparison.id) == 1
            assert offer.question == comparison.question
        labelling.vote(offer.slot_id, "A", worst="B" if contenders > 2 else "")
    assert checks == 4


@SQLITE
@pytest.mark.parametrize("text", ["Yes.", "The same long text to each of the questions"])
def test_short_or_equal_answers_make_no_check(text: str) -> None:
    def answer(number: int, position: int) -> str:
        return f"{text} {position}" if "same" in text else f"{number} {position}"

    campaign_id = ready(8, check_share=0.5, text=answer)
    assert {slot.kind for slot in judge_all(campaign_id)} == {SlotKind.TASK}
    assert labelling.take(campaign_id).mine.left == 0


@SQLITE
def test_nothing_in_an_offer_tells_a_control_apart() -> None:
    campaign_id = ready(12, repeat_share=0.5)
    offer = first(campaign_id, SlotKind.REPEAT)
    assert {field.name for field in fields(offer)} == {
        "slot_id", "campaign_id", "opening", "question", "answers",
    }  # fmt: skip
    again = labelling.take(campaign_id, count=4).offers
    assert again[0] == offer  # a reload keeps it, with its sides
    ids = [one.slot_id for one in again]
    assert ids == sorted(ids)
    assert labelling.open_to()[0][1] == labelling.take(campaign_id, count=4).mine


@SQLITE
def test_who_has_seen_the_names_gets_no_controls() -> None:
    campaign_id = ready(12, repeat_share=0.5, votes_wanted=2)
    held = first(campaign_id, SlotKind.REPEAT)
    campaigns.show_names(campaign_id)
    with pytest.raises(Refused, match="You have seen which model wrote which answer"):
        labelling.vote(held.slot_id, "A")
    labelling.release(campaign_id)
    taken = labelling.take(campaign_id)
    assert (taken.offers, taken.mine.left) == ([], 0)


# --- votes, undo, skip -----------------------------------------------------------------------


def test_a_control_is_judged_undone_and_skipped_like_all_others() -> None:
    campaign_id = ready(12, repeat_share=0.5)
    offer = first(campaign_id, SlotKind.REPEAT)
    before = labelling.take(campaign_id).mine
    vote = labelling.vote(offer.slot_id, "B", reason="Clear.", seconds=2)
    assert (vote.choice, vote.best_id, vote.reason, vote.seconds) == (Choice.BEST, vote.shown[1], "Clear.", 2)
    assert labelling.vote(offer.slot_id, "tie", seconds=9).seconds == 2  # changed; the first time stays
    with pytest.raises(Refused, match="undo the vote first"):
        labelling.skip(offer.slot_id)
    assert labelling.undo(offer.slot_id) == offer
    assert labelling.take(campaign_id).mine == before
    labelling.skip(offer.slot_id)
    with pytest.raises(Refused, match="You skipped this comparison"):
        labelling.vote(offer.slot_id, "A")
    assert labelling.undo(offer.slot_id) == offer
    with pytest.raises(Refused, match="another person's"):
        labelling.vote(offer.slot_id, "A", user="bob")
    expire(offer.slot_id)
    labelling.vote(offer.slot_id, "A")
    with read_session() as session:
        kept = session.scalars(select(ControlVote).order_by(ControlVote.id)).all()
        assert [(one.choice, one.withdrawn_at is None) for one in kept] == [
            (Choice.BEST, False), (Choice.TIE, False), (Choice.BEST, True),
        ]  # fmt: skip
    campaigns.set_status(campaign_id, CampaignStatus.CLOSED)
    with pytest.raises(Refused, match="is closed"):
        labelling.undo(offer.slot_id)


@SQLITE
def test_the_sides_of_a_vote_on_a_control_are_checked() -> None:
    offer = first(ready(12, repeat_share=0.5), SlotKind.REPEAT)
    with pytest.raises(InvalidInput, match="Name the best answer, one of A, B"):
        labelling.vote(offer.slot_id, "D")


@SQLITE
def test_a_withdrawn_vote_leaves_its_repeat() -> None:
    campaign_id = ready(12, repeat_share=0.5)
    repeat = slot_of(first(campaign_id, SlotKind.REPEAT))
    with write_session() as session:
        label = session.scalars(select(Label).where(Label.comparison_id == repeat.comparison_id)).one()
    labelling.vote(repeat.id, "A")
    answers.withdraw(label.id)
    with read_session() as session:
        query = select(Slot.kind, Slot.status).where(Slot.comparison_id == repeat.comparison_id)
        assert dict(session.execute(query).all()) == {
            SlotKind.TASK: SlotStatus.SKIPPED,
            SlotKind.REPEAT: SlotStatus.VOTED,
        }
    found = controls(campaign_id)
    assert found is not None
    assert found.people == []  # there is no first verdict to compare with


# --- what they say ---------------------------------------------------------------------------


def test_a_careful_and_a_careless_voter() -> None:
    campaign_id = ready(12, repeat_share=0.5, check_share=0.25, votes_wanted=2)

    def vote(offer: Offer, user: str, *, careful: bool) -> None:
        slot = slot_of(offer)
        if slot.kind is SlotKind.CHECK:
            number = offer.question.removeprefix("Question ").removesuffix("?")
            right = [text.endswith(f" {number}.") for text in offer.answers].index(True)
        else:
            right = slot.shown_order.index(0)
        wrong = not careful and slot.kind is not SlotKind.TASK
        labelling.vote(offer.slot_id, "AB"[1 - right if wrong else right], user=user)

    for user, careful in (("ada", True), ("bob", False)):
        for offer in judge(campaign_id, user=user):
            vote(offer, user, careful=careful)
    found = controls(campaign_id)
    assert found is not None
    ada, bob = found.people
    assert (ada.name, ada.passed, ada.consistent) == ("ada", Share(3, 3), Share(6, 6))
    assert (bob.name, bob.passed, bob.consistent) == ("bob", Share(0, 3), Share(0, 6))
    assert ada.consistent.interval == pytest.approx((0.61, 1.0), abs=0.01)
    assert {result.person for result in found.failed} == {"bob"}
    assert [result.kind for result in found.failed].count(SlotKind.CHECK) == 3
    assert controls(campaign_id, "eve") is not None  # made on the command line, it is everybody's


@SQLITE
def test_a_tie_is_a_verdict_like_others() -> None:
    campaign_id = ready(12, repeat_share=0.5)
    judge_all(campaign_id, "tie")
    found = controls(campaign_id)
    assert found is not None
    assert (found.people[0].consistent, found.people[0].passed) == (Share(6, 6), Share(0, 0))


@SQLITE
def test_only_the_owner_sees_who_failed() -> None:
    campaign_id = ready(12, repeat_share=0.5, user="ada")
    judge_all(campaign_id, "tie", user="bob")
    assert controls(campaign_id, "bob") is None
    assert controls(campaign_id, "ada") is not None
