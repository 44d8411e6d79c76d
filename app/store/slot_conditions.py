"""Which slots count as votes of their task, and which tasks a person can get."""

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session, aliased

from app.store import clock
from app.store.campaign_choice import Candidate
from app.store.enums import SlotKind, SlotStatus, TaskStatus
from app.store.models import Adjudication, Campaign, NamesSeen, Slot, Task


def counts_as_vote() -> ColumnElement[bool]:
    """The condition for slots that take a place of their task: voted, or open and not expired."""
    is_open = (Slot.status == SlotStatus.OPEN) & (Slot.until > clock.now())
    return (Slot.kind == SlotKind.TASK) & ((Slot.status == SlotStatus.VOTED) | is_open)


def taken() -> ColumnElement[int]:
    """The number of votes of a task, including those of open slots."""
    return (
        select(func.count())
        .select_from(Slot)
        .where(Slot.comparison_id == Task.comparison_id, counts_as_vote())
        .correlate(Task)
        .scalar_subquery()
    )


def available(campaign: Campaign, user_id: int) -> list[ColumnElement[bool]]:
    """The conditions for tasks that a person can get: a vote is wanted, and no names or votes were seen."""
    own = aliased(Slot)
    return [
        Task.campaign_id == campaign.id,
        Task.status == TaskStatus.READY,
        taken() < campaign.votes_wanted,
        ~exists().where(own.comparison_id == Task.comparison_id, own.user_id == user_id),
        ~exists().where(Adjudication.comparison_id == Task.comparison_id, Adjudication.user_id == user_id),
        ~exists().where(NamesSeen.comparison_id == Task.comparison_id, NamesSeen.user_id == user_id),
    ]


def candidates(campaign: Campaign, user_id: int, *, session: Session) -> list[Candidate]:
    """The tasks that a person can get, in order."""
    query = (
        select(Task.comparison_id, Task.number, Task.first, Task.second, taken())
        .where(*available(campaign, user_id))
        .order_by(Task.number)
    )
    return [Candidate(*row) for row in session.execute(query)]
