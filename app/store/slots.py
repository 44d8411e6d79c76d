"""Slots: people's places on the tasks of a campaign.

A person gets a few open slots at a time. An open slot is a lease: until it expires, it counts as a vote of
its task, so no two people work on the last vote that a task needs. Every call of the person renews it.
Among the slots are controls (controls.py), which take no place and whose verdicts are no labels.
"""

import random
from collections import deque
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import (
    campaign_choice,
    campaigns,
    clock,
    control_votes,
    controls,
    labels,
    slot_conditions,
    users,
)
from app.store.aspects import Said
from app.store.campaign_choice import Candidate
from app.store.enums import CampaignStatus, Choice, SlotKind, SlotStatus
from app.store.models import Campaign, Comparison, ControlVote, Label, NamesSeen, Slot, Task

LEASE_SECONDS = 300.0
MOST_OPEN = 10


def take(campaign_id: int, *, session: Session, user: str, count: int) -> list[Slot]:
    """A person's open slots, renewed, and new ones up to `count`; fewer if nothing else is to be judged.

    Raises:
        NotFound: for a campaign that does not exist.
        Refused: when this person may not vote in the campaign.
    """
    campaign = campaigns.lock(campaign_id, session=session)
    check_may_vote(campaign, user)
    if campaign.status is not CampaignStatus.OPEN:
        return []
    user_id = users.ensure(user, session=session).id
    mine = _renewed(campaign, user_id, session=session)[:count]
    wanted = min(count, MOST_OPEN) - len(mine)
    if wanted > 0:
        mine += _new_ones(campaign, user_id, wanted, session=session)
    session.flush()
    return mine


def _new_ones(campaign: Campaign, user_id: int, wanted: int, *, session: Session) -> list[Slot]:
    """Open up to `wanted` slots: the controls that are due, else the next tasks."""
    available = slot_conditions.candidates(campaign, user_id, session=session)
    tasks = deque(campaign_choice.choose(available, campaign, wanted, session=session))
    own = controls.record(campaign, user_id, left=len(available), session=session)
    opened: list[Slot] = []
    while len(opened) < wanted:
        slot = controls.next_one(own, session=session)
        if slot is None and not tasks:
            break
        if slot is None:
            slot = _of_task(tasks.popleft(), user_id, session=session)
            own.left -= 1
        opened.append(_open(slot, session=session))
        own.slots.append(controls.Own(slot.id, slot.comparison_id, slot.kind, slot.status))
    return opened


def may_vote(campaign: Campaign, user: str) -> bool:
    """Whether a person is among the campaign's voters."""
    return not campaign.voters or user in campaign.voters


def check_may_vote(campaign: Campaign, user: str) -> None:
    """Check that a person is among the campaign's voters.

    Raises:
        Refused: when this person is not.
    """
    if not may_vote(campaign, user):
        raise Refused(
            f"{user} is not among the voters of campaign {campaign.id}; its owner can add the name."
        )


def vote(
    slot_id: int,
    *,
    session: Session,
    user: str,
    choice: Choice,
    best: int | None = None,
    worst: int | None = None,
    reason: str = "",
    seconds: float | None = None,
    aspects: Mapping[str, Said] | None = None,
) -> Label | ControlVote:
    """Store a vote from a slot, in its person's display order. The names stay hidden.

    Args: as `labels.vote`.

    Returns:
        The label; for a control, the verdict that is stored instead.

    Raises:
        InvalidInput: as `labels.vote`.
        NotFound: for a slot that does not exist.
        Refused: when the slot is another person's, when it was skipped, when it expired and others have
            judged the task, when the campaign is closed, when the person has seen the names, or when they
            have decided the comparison as an adjudicator.
    """
    slot, campaign = _own(slot_id, user, session=session)
    if slot.status is SlotStatus.SKIPPED:
        raise Refused("You skipped this comparison; undo that first, then vote.")
    if slot.status is SlotStatus.OPEN:
        _check_still_open(slot, campaign, session=session)
    if _has_seen_names(slot, session=session):
        raise Refused("You have seen which model wrote which answer here, so a vote would not be blind.")
    said = {
        "choice": choice,
        "best": best,
        "worst": worst,
        "reason": reason,
        "seconds": seconds,
        "aspects": aspects,
        "asked": campaign.aspects,
    }
    vote = _cast(slot, said, session=session, user=user)
    _set(slot, SlotStatus.VOTED, session=session)
    return vote


def _cast(slot: Slot, said: dict[str, Any], *, session: Session, user: str) -> Label | ControlVote:
    if slot.kind is not SlotKind.TASK:
        return control_votes.cast(slot, session=session, **said)
    return labels.vote(
        slot.comparison_id, session=session, user=user, order=slot.shown_order, reveals=False, **said
    )


def skip(slot_id: int, *, session: Session, user: str) -> None:
    """Give a task to others. The person does not get it again, unless they undo the skip.

    Raises:
        NotFound: for a slot that does not exist.
        Refused: when the slot is another person's, or has a vote.
    """
    slot, _ = _own(slot_id, user, session=session)
    if slot.status is SlotStatus.VOTED:
        raise Refused("You have judged this comparison; undo the vote first, then skip it.")
    _set(slot, SlotStatus.SKIPPED, session=session)


def undo(slot_id: int, *, session: Session, user: str) -> Slot:
    """Withdraw the vote or the skip of a slot, and open it again. The history keeps the vote.

    Raises:
        NotFound: for a slot that does not exist.
        Refused: when the slot is another person's, when the campaign is closed, or when others have judged
            the skipped task.
    """
    slot, campaign = _own(slot_id, user, session=session)
    if slot.status is SlotStatus.OPEN:
        return slot
    if slot.status is SlotStatus.SKIPPED:
        _check_still_open(slot, campaign, session=session)
    elif campaign.status is CampaignStatus.CLOSED:
        raise Refused(f"Campaign {campaign.id} is closed; its votes can no longer be undone here.")
    else:
        _withdraw(slot, user, session=session)
    _set(slot, SlotStatus.OPEN, session=session)
    return slot


def _withdraw(slot: Slot, user: str, *, session: Session) -> None:
    if slot.kind is not SlotKind.TASK:
        control_votes.withdraw(slot.id, session=session)
        return
    label = labels.of_user(slot.comparison_id, user, session=session)
    if label is not None:
        labels.withdraw(label.id, session=session, user=user)


def release(campaign_id: int, *, session: Session, user: str) -> None:
    """Give back a person's open slots of a campaign."""
    of_campaign = select(Task.comparison_id).where(Task.campaign_id == campaign_id)
    mine = (Slot.user_id == users.ensure(user, session=session).id, Slot.status == SlotStatus.OPEN)
    session.execute(delete(Slot).where(*mine, Slot.comparison_id.in_(of_campaign)))


def get(slot_id: int, *, session: Session) -> Slot:
    """One slot.

    Raises:
        NotFound: when the id does not exist.
    """
    slot = session.get(Slot, slot_id)
    if slot is None:
        raise NotFound(f"There is no slot {slot_id}; it was given back. The next comparison follows.")
    return slot


def _own(slot_id: int, user: str, *, session: Session) -> tuple[Slot, Campaign]:
    """Lock the campaign of a person's slot."""
    slot = get(slot_id, session=session)
    if slot.user_id != users.ensure(user, session=session).id:
        raise Refused("This slot is another person's; open the campaign to get your own.")
    task = session.get_one(Task, slot.comparison_id)
    campaign = campaigns.lock(task.campaign_id, session=session)
    session.refresh(slot)
    return slot, campaign


def _set(slot: Slot, status: SlotStatus, *, session: Session) -> None:
    values = {"status": status, "until": clock.after(LEASE_SECONDS), "updated_at": clock.now()}
    session.execute(update(Slot).where(Slot.id == slot.id).values(**values))
    session.refresh(slot)


def _has_seen_names(slot: Slot, *, session: Session) -> bool:
    return session.get(NamesSeen, (slot.user_id, slot.comparison_id)) is not None


def _check_still_open(slot: Slot, campaign: Campaign, *, session: Session) -> None:
    """Refuse a slot whose lease expired, if the campaign was closed or its task has all its votes."""
    alive = session.scalar(select(Slot.until > clock.now()).where(Slot.id == slot.id))
    if alive and slot.status is SlotStatus.OPEN:
        return
    if campaign.status is CampaignStatus.CLOSED:
        raise Refused(f"Campaign {campaign.id} is closed; this comparison takes no votes any more.")
    if slot.kind is not SlotKind.TASK:
        return
    taken = session.scalar(
        select(func.count())
        .select_from(Slot)
        .where(
            Slot.comparison_id == slot.comparison_id,
            Slot.user_id != slot.user_id,
            slot_conditions.counts_as_vote(),
        )
    )
    if (taken or 0) >= campaign.votes_wanted:
        raise Refused("Others have judged this comparison meanwhile; the next one follows.")


def _renewed(campaign: Campaign, user_id: int, *, session: Session) -> list[Slot]:
    """A person's open slots, oldest first, renewed. Those that others have used up meanwhile are deleted."""
    query = (
        select(Slot, slot_conditions.taken(), Slot.until > clock.now())
        .join(Task, Slot.comparison_id == Task.comparison_id)
        .where(Task.campaign_id == campaign.id, Slot.user_id == user_id, Slot.status == SlotStatus.OPEN)
        .order_by(Slot.id)
    )
    kept = []
    for slot, taken, alive in session.execute(query).all():
        if not alive and slot.kind is SlotKind.TASK and taken >= campaign.votes_wanted:
            session.delete(slot)
        else:
            kept.append(slot)
    renewed = update(Slot).where(Slot.id.in_([slot.id for slot in kept]))
    session.execute(renewed.values(until=clock.after(LEASE_SECONDS)))
    return kept


def _of_task(task: Candidate, user_id: int, *, session: Session) -> Slot:
    positions = session.get_one(Comparison, task.comparison_id).shown_order
    order = random.SystemRandom().sample(positions, len(positions))
    return Slot(comparison_id=task.comparison_id, user_id=user_id, kind=SlotKind.TASK, shown_order=order)


def _open(slot: Slot, *, session: Session) -> Slot:
    slot.status, slot.until = SlotStatus.OPEN, clock.after(LEASE_SECONDS)
    session.add(slot)
    session.flush()
    return slot
