"""Slots: people's places on the tasks of a campaign.

A person gets a few open slots at a time. An open slot is a lease: until it expires, it counts as a vote of
its task, so no two people work on the last vote that a task needs. Every call of the person renews it.
"""

import random
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from app.errors import NotFound, Refused
from app.store import campaign_choice, campaigns, clock, labels, users
from app.store.campaign_choice import Candidate
from app.store.enums import CampaignStatus, Choice, SlotStatus, TaskStatus
from app.store.models import Campaign, Comparison, Label, NamesSeen, Slot, Task

LEASE_SECONDS = 300.0
MOST_OPEN = 10


@dataclass(frozen=True, slots=True)
class Counts:
    """A person's votes and skips in a campaign, and the tasks that this person can still get."""

    voted: int
    skipped: int
    left: int


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
        available = _candidates(campaign, user_id, session=session)
        chosen = campaign_choice.choose(available, campaign, wanted, session=session)
        mine += [_open(task, user_id, session=session) for task in chosen]
    session.flush()
    return mine


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


def counts(campaign: Campaign, user: str, *, session: Session) -> Counts:
    """A person's progress in a campaign."""
    user_id = users.ensure(user, session=session).id
    query = (
        select(Slot.status, func.count())
        .join(Task, Slot.comparison_id == Task.comparison_id)
        .where(Task.campaign_id == campaign.id, Slot.user_id == user_id)
        .group_by(Slot.status)
    )
    by_status: dict[SlotStatus, int] = {status: number for status, number in session.execute(query)}
    left = select(func.count()).select_from(Task).where(*_available(campaign, user_id))
    return Counts(
        by_status.get(SlotStatus.VOTED, 0),
        by_status.get(SlotStatus.SKIPPED, 0),
        (session.scalar(left) or 0) + by_status.get(SlotStatus.OPEN, 0),
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
) -> Label:
    """Store a vote from a slot, in its person's display order. The names stay hidden.

    Args: as `labels.vote`.

    Raises:
        InvalidInput: as `labels.vote`.
        NotFound: for a slot that does not exist.
        Refused: when the slot is another person's, when it was skipped, when it expired and others have
            judged the task, when the campaign is closed, or when the person has seen the names.
    """
    slot, campaign = _own(slot_id, user, session=session)
    if slot.status is SlotStatus.SKIPPED:
        raise Refused("You skipped this comparison; undo that first, then vote.")
    if slot.status is SlotStatus.OPEN:
        _check_still_open(slot, campaign, session=session)
    if _has_seen_names(slot, session=session):
        raise Refused("You have seen which model wrote which answer here, so a vote would not be blind.")
    label = labels.vote(
        slot.comparison_id,
        session=session,
        user=user,
        choice=choice,
        best=best,
        worst=worst,
        reason=reason,
        seconds=seconds,
        order=slot.shown_order,
        reveals=False,
    )
    _set(slot, SlotStatus.VOTED, session=session)
    return label


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
    taken = session.scalar(
        select(func.count())
        .select_from(Slot)
        .where(Slot.comparison_id == slot.comparison_id, Slot.user_id != slot.user_id, _counts())
    )
    if (taken or 0) >= campaign.votes_wanted:
        raise Refused("Others have judged this comparison meanwhile; the next one follows.")


def _counts() -> ColumnElement[bool]:
    """The condition for slots that count as a vote: voted, or open and not expired."""
    is_open = (Slot.status == SlotStatus.OPEN) & (Slot.until > clock.now())
    return (Slot.status == SlotStatus.VOTED) | is_open


def _taken() -> ColumnElement[int]:
    """The number of votes of a task, including those of open slots."""
    return (
        select(func.count())
        .select_from(Slot)
        .where(Slot.comparison_id == Task.comparison_id, _counts())
        .correlate(Task)
        .scalar_subquery()
    )


def _available(campaign: Campaign, user_id: int) -> list[ColumnElement[bool]]:
    """The conditions for tasks that a person can get: a vote is wanted, and the names were not seen."""
    own = aliased(Slot)
    return [
        Task.campaign_id == campaign.id,
        Task.status == TaskStatus.READY,
        _taken() < campaign.votes_wanted,
        ~exists().where(own.comparison_id == Task.comparison_id, own.user_id == user_id),
        ~exists().where(NamesSeen.comparison_id == Task.comparison_id, NamesSeen.user_id == user_id),
    ]


def _candidates(campaign: Campaign, user_id: int, *, session: Session) -> list[Candidate]:
    query = (
        select(Task.comparison_id, Task.number, Task.first, Task.second, _taken())
        .where(*_available(campaign, user_id))
        .order_by(Task.number)
    )
    return [Candidate(*row) for row in session.execute(query)]


def _renewed(campaign: Campaign, user_id: int, *, session: Session) -> list[Slot]:
    """A person's open slots, oldest first, renewed. Those that others have used up meanwhile are deleted."""
    query = (
        select(Slot, _taken(), Slot.until > clock.now())
        .join(Task, Slot.comparison_id == Task.comparison_id)
        .where(Task.campaign_id == campaign.id, Slot.user_id == user_id, Slot.status == SlotStatus.OPEN)
        .order_by(Slot.id)
    )
    kept = []
    for slot, taken, alive in session.execute(query).all():
        if not alive and taken >= campaign.votes_wanted:
            session.delete(slot)
        else:
            kept.append(slot)
    renewed = update(Slot).where(Slot.id.in_([slot.id for slot in kept]))
    session.execute(renewed.values(until=clock.after(LEASE_SECONDS)))
    return kept


def _open(task: Candidate, user_id: int, *, session: Session) -> Slot:
    positions = session.get_one(Comparison, task.comparison_id).shown_order
    slot = Slot(
        comparison_id=task.comparison_id,
        user_id=user_id,
        shown_order=random.SystemRandom().sample(positions, len(positions)),
        until=clock.after(LEASE_SECONDS),
    )
    session.add(slot)
    session.flush()
    return slot
