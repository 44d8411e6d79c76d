"""Labelling: slots and their leases, sides, undo, what stays hidden, and several people at once."""

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from app import answers, campaigns, labelling
from app.errors import NotFound, Refused
from app.labelling import Offer
from app.store import campaign_progress, clock, label_queries, labels, names, tallies
from app.store.db import read_session, write_session
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus, SlotStatus
from app.store.models import Campaign, Generation, Label, LabelVersion, Slot, Task
from tests.app import campaign_setup
from tests.app.store.concurrently import concurrently

pytestmark = pytest.mark.usefixtures("engine")

PEOPLE = ("ada", "bob", "eve")


@pytest.fixture(autouse=True)
def logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "known_voters", lambda: [*PEOPLE, "local"])


def numbers(offers: list[Offer]) -> list[int]:
    """The places in the campaign of the comparisons that are offered."""
    with read_session() as session:
        query = select(Slot.id, Task.number).join(Task, Task.comparison_id == Slot.comparison_id)
        places = dict(session.execute(query).all())
    return [places[offer.slot_id] for offer in offers]


def expire(slot_id: int) -> None:
    with write_session() as session:
        session.execute(update(Slot).where(Slot.id == slot_id).values(until=clock.after(-1)))


def positions(slot_id: int) -> list[int]:
    with read_session() as session:
        return list(session.get_one(Slot, slot_id).shown_order)


# --- slots ---------------------------------------------------------------------------------------------


def test_a_reload_and_another_device_keep_the_place_and_the_sides() -> None:
    campaign_id = campaign_setup.ready(prompts=[f"{n}?" for n in range(8)])
    first = labelling.take(campaign_id, count=3).offers
    assert labelling.take(campaign_id, count=3).offers == first
    labelling.vote(first[0].slot_id, "A")
    again = labelling.take(campaign_id, count=3).offers
    assert again[:2] == first[1:]
    assert numbers(again) == [2, 3, 4]


def test_no_two_people_hold_the_last_vote_of_a_comparison() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?", "2?", "3?"])
    taken = [labelling.take(campaign_id, user=user, count=2) for user in PEOPLE]
    assert [numbers(one.offers) for one in taken] == [[1, 2], [3], []]
    assert taken[2].note == "There is nothing to judge: all comparisons have their votes."
    assert taken[2].mine.left == 0


def test_an_expired_slot_goes_to_others_and_comes_back_if_nobody_took_it() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"])
    slot = labelling.take(campaign_id, user="ada").offers[0]
    expire(slot.slot_id)
    assert labelling.take(campaign_id, user="ada").offers == [slot]
    expire(slot.slot_id)
    other = labelling.take(campaign_id, user="bob").offers
    assert numbers(other) == [1]
    with pytest.raises(Refused, match="Others have judged this comparison meanwhile"):
        labelling.vote(slot.slot_id, "A", user="ada")
    assert labelling.take(campaign_id, user="ada").offers == []
    with pytest.raises(NotFound, match="was given back"):
        labelling.vote(slot.slot_id, "A", user="ada")
    labelling.vote(other[0].slot_id, "A", user="bob")


def test_a_late_vote_counts_if_it_is_still_wanted() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"])
    slot = labelling.take(campaign_id, user="ada").offers[0]
    expire(slot.slot_id)
    labelling.vote(slot.slot_id, "A", user="ada")
    assert campaigns.overview(campaign_id).progress.votes == 1


def test_a_comparison_gets_its_votes_from_different_people() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"], votes_wanted=2)
    slot = labelling.take(campaign_id, user="ada").offers[0]
    labelling.vote(slot.slot_id, "A", user="ada")
    assert labelling.take(campaign_id, user="ada").offers == []
    assert numbers(labelling.take(campaign_id, user="bob").offers) == [1]


def test_released_and_skipped_slots_go_to_others() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?", "2?"])
    offers = labelling.take(campaign_id, user="ada", count=2).offers
    labelling.skip(offers[0].slot_id, user="ada")
    labelling.release(campaign_id, user="ada")
    assert numbers(labelling.take(campaign_id, user="ada").offers) == [2]
    labelling.release(campaign_id, user="ada")
    assert numbers(labelling.take(campaign_id, user="bob").offers) == [1, 2]
    with pytest.raises(Refused, match="You skipped this comparison"):
        labelling.vote(offers[0].slot_id, "A", user="ada")


def test_only_voters_vote() -> None:
    campaign_id = campaign_setup.ready(voters=["ada"])
    assert labelling.take(campaign_id, user="ada").offers
    with pytest.raises(Refused, match="bob is not among the voters"):
        labelling.take(campaign_id, user="bob")


def test_the_owner_sees_what_each_person_has_to_go() -> None:
    campaign_id = campaign_setup.ready(
        prompts=["1?", "2?", "3?"], votes_wanted=2, voters=["ada", "bob", "eve"]
    )

    def to_go() -> dict[str, int]:
        progress = campaigns.overview(campaign_id).progress
        people = [person.name for person in progress.people]
        with read_session() as session:
            campaign = session.get_one(Campaign, campaign_id)
            return campaign_progress.to_go(campaign, people, session=session)

    assert to_go() == {"ada": 3, "bob": 3, "eve": 3}, "who is named counts before the first vote"
    offers = labelling.take(campaign_id, count=2, user="ada").offers
    labelling.vote(offers[0].slot_id, "A", user="ada")
    assert to_go() == {"ada": 2, "bob": 3, "eve": 3}, "what a person holds is to go"
    for user in ("bob", "eve"):
        slots = labelling.take(campaign_id, count=3, user=user).offers
        for offer in slots:
            labelling.vote(offer.slot_id, "A", user=user)
    assert to_go()["ada"] <= 1, "two votes of three people are enough"
    campaigns.set_status(campaign_id, CampaignStatus.CLOSED)
    assert set(to_go().values()) == {0}


def test_anothers_slot_is_refused() -> None:
    campaign_id = campaign_setup.ready()
    slot = labelling.take(campaign_id, user="ada").offers[0].slot_id
    acts: list[Callable[[], object]] = [
        lambda: labelling.vote(slot, "A", user="bob"),
        lambda: labelling.skip(slot, user="bob"),
        lambda: labelling.undo(slot, user="bob"),
    ]
    for act in acts:
        with pytest.raises(Refused, match="another person's"):
            act()


@pytest.mark.parametrize(
    ("status", "note"), [(CampaignStatus.PAUSED, "is paused"), (CampaignStatus.CLOSED, "is closed")]
)
def test_a_paused_or_closed_campaign_offers_nothing_and_keeps_votes(
    status: CampaignStatus, note: str
) -> None:
    campaign_id = campaign_setup.ready(prompts=["1?", "2?", "3?"])
    offers = labelling.take(campaign_id, count=3).offers
    labelling.vote(offers[0].slot_id, "A")
    campaigns.set_status(campaign_id, status)
    taken = labelling.take(campaign_id)
    assert (taken.offers, taken.status) == ([], status)
    assert note in taken.note
    labelling.vote(offers[1].slot_id, "B")  # it was on the screen when the campaign stopped
    expire(offers[2].slot_id)
    if status is CampaignStatus.CLOSED:
        with pytest.raises(Refused, match="is closed"):
            labelling.vote(offers[2].slot_id, "A")
        with pytest.raises(Refused, match="is closed"):
            labelling.undo(offers[0].slot_id)
    assert campaigns.overview(campaign_id).progress.votes == 2


def test_answers_in_writing_are_told() -> None:
    taken = labelling.take(campaign_setup.create())
    assert (taken.offers, taken.waiting) == ([], 2)
    assert taken.note.startswith("The answers are still being written")


# --- sides and names -----------------------------------------------------------------------------------


def test_sides_are_drawn_for_each_person() -> None:
    campaign_id = campaign_setup.ready(prompts=[f"{n}?" for n in range(10)], votes_wanted=3)
    drawn = Counter(
        tuple(positions(offer.slot_id))
        for user in PEOPLE
        for offer in labelling.take(campaign_id, user=user, count=10).offers
    )
    assert set(drawn) == {(0, 1), (1, 0)}  # all 30 alike once in 500 million times
    assert sum(drawn.values()) == 30


def test_a_vote_is_stored_in_its_persons_order() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"], votes_wanted=3)
    for user in PEOPLE:
        offer = labelling.take(campaign_id, user=user).offers[0]
        better = "AB"[offer.answers.index("Answer 1 to question 0.")]
        labelling.vote(offer.slot_id, better, user=user)
    with read_session() as session:
        found = session.scalars(select(Label)).all()
        assert len({label.best_id for label in found}) == 1
        shown = {tuple(label.shown) for label in found}
        assert all(label.first_side == (label.shown[0] == label.best_id) for label in found)
    assert shown <= {(1, 2), (2, 1)}


def test_best_and_worst_of_three() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"], contenders=3, form=CampaignForm.BEST_WORST)
    offer = labelling.take(campaign_id).offers[0]
    order = positions(offer.slot_id)
    assert offer.answers == [f"Answer {position} to question 0." for position in order]
    label = labelling.vote(offer.slot_id, "ABC"[order.index(2)], worst="ABC"[order.index(0)])
    with read_session() as session:
        (vote,) = label_queries.votes(session=session)
    assert vote.best is not None
    assert vote.worst is not None
    assert (vote.best.contender.position, vote.worst.contender.position) == (2, 0)
    assert label.blind


def test_a_vote_shows_no_names_and_can_be_given_again_blind() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"])
    slot = labelling.take(campaign_id).offers[0].slot_id
    first = labelling.vote(slot, "A")
    with read_session() as session:
        assert label_queries.count_hidden("local", session=session) == 1
        assert names.seen_among([first.comparison_id], "local", session=session) == set()
    changed = labelling.vote(slot, "B")
    assert changed.blind
    assert changed.best_id != first.best_id
    labelling.undo(slot)
    again = labelling.vote(slot, "tie")
    assert again.blind


def test_whoever_looks_at_the_comparison_elsewhere_learns_nothing_from_the_order() -> None:
    campaign_id = campaign_setup.ready(prompts=[f"{n}?" for n in range(30)], contenders=3)
    ids = [task.comparison_id for task in campaign_setup.tasks(campaign_id)]
    shown = [answers.look(comparison_id, user="ada") for comparison_id in ids]
    assert all(look.hidden for look in shown)
    first = Counter(look.answers[0].position for look in shown)
    assert set(first) == {0, 1, 2}  # the reference is not always the first
    with read_session() as session:
        rows = select(Generation.comparison_id, Generation.position).order_by(Generation.id)
        by_comparison: dict[int | None, list[int | None]] = {}
        for comparison_id, position in session.execute(rows):
            by_comparison.setdefault(comparison_id, []).append(position)
    assert len({tuple(order) for order in by_comparison.values()}) > 1  # nor has it the lowest id


def test_who_saw_the_names_votes_no_more() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?", "2?"], votes_wanted=2)
    held = labelling.take(campaign_id, user="ada", count=1).offers[0].slot_id
    campaigns.show_names(campaign_id, user="ada")
    with pytest.raises(Refused, match="You have seen which model wrote which answer"):
        labelling.vote(held, "A", user="ada")
    labelling.release(campaign_id, user="ada")
    assert labelling.take(campaign_id, user="ada").offers == []
    assert len(labelling.take(campaign_id, user="bob").offers) == 2


def test_a_campaigns_comparison_is_judged_through_its_slot_only() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"])
    (task,) = campaign_setup.tasks(campaign_id)
    with pytest.raises(Refused, match=f"belongs to campaign {campaign_id}"):
        answers.vote(task.comparison_id, "A", user="bob")


def test_a_vote_changed_on_the_results_page_keeps_its_sides() -> None:
    campaign_id = campaign_setup.ready(prompts=[f"{n}?" for n in range(6)])
    for offer in labelling.take(campaign_id, count=6).offers:
        given = labelling.vote(offer.slot_id, "A")
        with pytest.raises(Refused, match="judge it on the Label page"):
            answers.vote(given.comparison_id, "B")
        changed = answers.change(given.id, "B")
        assert (changed.shown, changed.best_id) == (given.shown, given.shown[1])


# --- undo ----------------------------------------------------------------------------------------------


def test_undo_withdraws_a_vote_and_the_history_keeps_it() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"])
    offer = labelling.take(campaign_id).offers[0]
    labelling.vote(offer.slot_id, "A", reason="clear")
    assert labelling.undo(offer.slot_id) == offer
    with read_session() as session:
        assert session.scalars(select(Label)).all() == []
        (kept,) = session.scalars(select(LabelVersion)).all()
        assert (kept.reason, kept.withdrawn) == ("clear", True)
    assert campaigns.overview(campaign_id).progress.votes == 0
    assert labelling.undo(offer.slot_id) == offer  # it is open already


def test_undo_of_a_skip_unless_others_judged_it() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"])
    offer = labelling.take(campaign_id, user="ada").offers[0]
    labelling.skip(offer.slot_id, user="ada")
    assert labelling.undo(offer.slot_id, user="ada") == offer
    labelling.skip(offer.slot_id, user="ada")
    other = labelling.take(campaign_id, user="bob").offers[0]
    labelling.vote(other.slot_id, "tie", user="bob")
    with pytest.raises(Refused, match="Others have judged"):
        labelling.undo(offer.slot_id, user="ada")
    with pytest.raises(Refused, match="undo the vote first"):
        labelling.skip(other.slot_id, user="bob")


def test_a_vote_withdrawn_on_the_results_page_is_wanted_again() -> None:
    campaign_id = campaign_setup.ready(prompts=["1?"])
    label = labelling.vote(labelling.take(campaign_id, user="ada").offers[0].slot_id, "A", user="ada")
    answers.withdraw(label.id, user="ada")
    assert labelling.take(campaign_id, user="ada").offers == []
    assert numbers(labelling.take(campaign_id, user="bob").offers) == [1]


# --- which comparison comes next -------------------------------------------------------------------------


def test_in_order() -> None:
    campaign_id = campaign_setup.ready(contenders=3, order=CampaignOrder.IN_ORDER)
    assert numbers(labelling.take(campaign_id, count=6).offers) == [1, 2, 3, 4, 5, 6]


def test_the_informative_order_takes_the_pair_that_is_least_sure() -> None:
    campaign_id = campaign_setup.ready(
        prompts=[f"{n}?" for n in range(20)], contenders=3, order=CampaignOrder.INFORMATIVE
    )
    first = labelling.take(campaign_id, count=3).offers
    assert numbers(first) == [1, 2, 3]  # each pair once
    pairs = {task.number: (task.first, task.second) for task in campaign_setup.tasks(campaign_id)}
    labelling.release(campaign_id)
    for _ in range(30):  # 0 always beats 1; the others are even
        offer = labelling.take(campaign_id, count=1).offers[0]
        (number,) = numbers([offer])
        pair = pairs[number]
        better = 0 if pair == (0, 1) else pair[number % 2]
        labelling.vote(offer.slot_id, "AB"[positions(offer.slot_id).index(better)])
    with read_session() as session:
        voted = session.execute(select(Slot.comparison_id).where(Slot.status == SlotStatus.VOTED)).all()
    by_pair = Counter(
        (task.first, task.second)
        for task in campaign_setup.tasks(campaign_id)
        if task.comparison_id in {row[0] for row in voted}
    )
    assert by_pair[0, 1] < min(by_pair[0, 2], by_pair[1, 2])
    assert sum(by_pair.values()) == 30


# --- several at once -----------------------------------------------------------------------------------


@pytest.mark.servers
def test_five_people_at_once_lose_and_double_no_vote() -> None:
    campaign_id = campaign_setup.ready(prompts=[f"{n}?" for n in range(20)], contenders=3, votes_wanted=2)
    people = [f"p{n}" for n in range(5)]

    def judge(user: str) -> int:
        votes = 0
        while offers := labelling.take(campaign_id, user=user, count=3).offers:
            for offer in offers:
                labelling.vote(offer.slot_id, "A", user=user)
                votes += 1
        return votes

    done = concurrently(lambda number: judge(people[number]), times=len(people))
    assert sum(done) == 20 * 3 * 2
    with read_session() as session:
        by_comparison = Counter(session.scalars(select(Label.comparison_id)))
        assert set(by_comparison.values()) == {2}
        assert len(by_comparison) == 60
    found = campaigns.overview(campaign_id).progress
    assert (found.votes, found.votes_wanted) == (120, 120)
    assert sorted(person.name for person in found.people if person.votes) == people
    assert [(pair.votes, pair.wanted) for pair in found.pairs] == [(40, 40)] * 3


def test_votes_of_a_campaign_are_tallied() -> None:
    campaign_id = campaign_setup.ready(contenders=3, prompts=["1?"])
    for offer in labelling.take(campaign_id, count=3).offers:
        labelling.vote(offer.slot_id, "A")
    with read_session() as session:
        assert session.scalars(select(Label.counted)).all() == [tallies.RULES] * 3
        assert labels.has_votes(campaign_setup.tasks(campaign_id)[0].comparison_id, session=session)
