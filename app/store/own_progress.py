"""A person's progress in a campaign. Controls count like other comparisons: no number tells them apart."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store import controls, slot_conditions, users
from app.store.enums import CampaignStatus, SlotStatus
from app.store.models import Campaign, Task


@dataclass(frozen=True, slots=True)
class Counts:
    """A person's judged and skipped comparisons in a campaign, and those that this person can still get.

    Nothing is left in a closed campaign.
    """

    voted: int
    skipped: int
    left: int


def counts(campaign: Campaign, user: str, *, session: Session) -> Counts:
    """A person's progress in a campaign."""
    user_id = users.ensure(user, session=session).id
    query = select(func.count()).select_from(Task).where(*slot_conditions.available(campaign, user_id))
    own = controls.record(campaign, user_id, left=session.scalar(query) or 0, session=session)
    by_status = Counter(slot.status for slot in own.slots)
    left = own.left + by_status[SlotStatus.OPEN]
    if left or controls.next_one(own, session=session):
        left += own.to_come
    if campaign.status is CampaignStatus.CLOSED:
        left = 0
    return Counts(by_status[SlotStatus.VOTED], by_status[SlotStatus.SKIPPED], left)
