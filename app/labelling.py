"""Labelling: what the Label page and the API do with a person's slots in a campaign."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.answers import parse_aspects, parse_vote
from app.store import campaign_tasks, campaigns, comparisons, control_votes, own_progress, slots, users
from app.store.db import write_session
from app.store.enums import CampaignStatus, TaskStatus
from app.store.models import Campaign, ControlVote, Label, Slot, Task
from app.store.own_progress import Counts


@dataclass(frozen=True, slots=True)
class Offer:
    """A comparison to judge: the question with its history, and the answers in the person's order.

    It has no names, nor anything that tells the contenders, or a control from other comparisons, apart.
    """

    slot_id: int
    campaign_id: int
    opening: list[dict[str, str]]
    question: str
    answers: list[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """A person's offers, the next one first, and where the person and the campaign stand.

    `waiting` counts the comparisons whose answers are still being written. `note` says why there are no
    offers; it is empty with offers.
    """

    offers: list[Offer]
    mine: Counts
    status: CampaignStatus
    waiting: int
    note: str


def take(campaign_id: int, *, user: str = users.LOCAL, count: int = 3) -> Taken:
    """Take comparisons to judge: first those that this person holds already, with the same sides.

    Raises:
        NotFound: for a campaign that does not exist.
        Refused: when this person may not vote in it.
    """
    with write_session() as session:
        campaign_tasks.settle_waiting(campaign_id, session=session)
        taken = slots.take(campaign_id, session=session, user=user, count=count)
        offers = [_offer(slot, session=session) for slot in taken]
        campaign = campaigns.get(campaign_id, session=session)
        mine = own_progress.counts(campaign, user, session=session)
        waiting = campaign_tasks.count(campaign_id, TaskStatus.WAITING, session=session)
    note = "" if offers else _note(campaign, mine, waiting)
    return Taken(offers, mine, campaign.status, waiting, note)


def _note(campaign: Campaign, mine: Counts, waiting: int) -> str:
    if campaign.status is CampaignStatus.CLOSED:
        return "The campaign is closed."
    if campaign.status is CampaignStatus.PAUSED:
        return "The campaign is paused; its owner can resume it."
    if waiting:
        return "The answers are still being written; the first ones appear here as soon as they are done."
    if mine.voted or mine.skipped:
        return "You have judged everything that there is to judge for you."
    return "There is nothing to judge: all comparisons have their votes."


def vote(
    slot_id: int,
    choice: str,
    *,
    user: str = users.LOCAL,
    worst: str = "",
    reason: str = "",
    seconds: float | None = None,
    aspects: Mapping[str, str] | None = None,
) -> Label | ControlVote:
    """Vote in words, as `answers.vote`, in the order of sides of the person's slot. Names stay hidden.

    Args:
        aspects: for each aspect the letter of the best answer, `tie`, or `not applicable`.

    Returns:
        The label; for a repeat or an attention check, the verdict that is stored instead.

    Raises:
        AppError: as `slots.vote`, and InvalidInput for any other word.
    """
    said = parse_vote(choice, worst)
    with write_session() as session:
        return slots.vote(
            slot_id,
            session=session,
            user=user,
            choice=said.choice,
            best=said.best,
            worst=said.worst,
            reason=reason,
            seconds=seconds,
            aspects=None if aspects is None else parse_aspects(aspects),
        )


def skip(slot_id: int, *, user: str = users.LOCAL) -> None:
    """Leave a comparison to others.

    Raises:
        AppError: as `slots.skip`.
    """
    with write_session() as session:
        slots.skip(slot_id, session=session, user=user)


def undo(slot_id: int, *, user: str = users.LOCAL) -> Offer:
    """Withdraw a vote or a skip, and get the comparison again.

    Raises:
        AppError: as `slots.undo`.
    """
    with write_session() as session:
        return _offer(slots.undo(slot_id, session=session, user=user), session=session)


def release(campaign_id: int, *, user: str = users.LOCAL) -> None:
    """Give back this person's open slots of a campaign."""
    with write_session() as session:
        slots.release(campaign_id, session=session, user=user)


def open_to(user: str = users.LOCAL, *, limit: int = 20) -> list[tuple[Campaign, Counts]]:
    """The newest open campaigns in which a person may vote, with the person's progress in each."""
    with write_session() as session:
        found = campaigns.recent(session=session, limit=10 * limit)
        mine = [one for one in found if one.status is CampaignStatus.OPEN and slots.may_vote(one, user)]
        return [(one, own_progress.counts(one, user, session=session)) for one in mine[:limit]]


def _offer(slot: Slot, *, session: Session) -> Offer:
    comparison = comparisons.get(slot.comparison_id, session=session)
    task = session.get_one(Task, slot.comparison_id)
    return Offer(
        slot.id,
        task.campaign_id,
        list(comparison.conversation.opening or []),
        comparison.question,
        [answer.text for answer in control_votes.shown(slot, session=session)],
    )
