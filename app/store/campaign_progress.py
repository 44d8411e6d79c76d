"""Progress of a campaign: answers, tasks, and votes by person and by pair."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from app.store import campaigns, endpoint_answers, slot_conditions, users
from app.store.enums import CampaignStatus, GenerationStatus, SlotKind, SlotStatus, TaskStatus
from app.store.models import (
    Campaign,
    Comparison,
    Contender,
    Conversation,
    Generation,
    Label,
    Slot,
    Task,
    User,
)

FAILURES_SHOWN = 5
NOBODY = 0
"""The id of a named voter who has never logged in; no user has it."""


@dataclass(frozen=True, slots=True)
class PersonProgress:
    """A person's votes and skips; `median_seconds` is the time per vote, None without a measured one."""

    name: str
    votes: int
    skipped: int
    median_seconds: float | None


@dataclass(frozen=True, slots=True)
class PairProgress:
    """The votes on two contenders, and those wanted. Both names are empty if all are judged together."""

    first: str
    second: str
    votes: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of a campaign.

    `answered` counts the answers that are over, and `failed_answers` those of them that failed or were
    stopped. `seconds_left` predicts the time until all answers are written by one worker; None before the
    first batch, and when all are over. `failures` are the distinct reasons of failed answers. `requests`
    counts the answers that endpoints have yet to write, and `cost` is what their answers cost so far.
    """

    prompts: int = 0
    answers: int = 0
    answered: int = 0
    failed_answers: int = 0
    tasks: dict[TaskStatus, int] = field(default_factory=dict)
    votes: int = 0
    votes_wanted: int = 0
    seconds_left: float | None = None
    people: list[PersonProgress] = field(default_factory=list)
    pairs: list[PairProgress] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    requests: int = 0
    cost: float | None = None

    @property
    def written(self) -> int:
        """The number of answers that are there to be judged."""
        return self.answered - self.failed_answers

    @property
    def unwritten(self) -> int:
        """The number of answers that are not over."""
        return self.answers - self.answered


def read(campaign: Campaign, *, session: Session) -> Progress:
    """The progress of a campaign."""
    by_status = _answers(campaign.id, session=session)
    tasks = _tasks(campaign.id, session=session)
    pairs = _pairs(campaign, session=session)
    answers = sum(by_status.values())
    over = sum(count for status, count in by_status.items() if status.is_over)
    return Progress(
        prompts=count_items(campaign.id, session=session) // campaign.samples,
        answers=answers,
        answered=over,
        failed_answers=over - by_status.get(GenerationStatus.FINISHED, 0),
        tasks=tasks,
        votes=sum(pair.votes for pair in pairs),
        votes_wanted=sum(pair.wanted for pair in pairs),
        seconds_left=_seconds_left(campaign, answers - over),
        people=_people(campaign, session=session),
        pairs=pairs,
        failures=_failures(campaign.id, session=session),
        requests=endpoint_answers.count_unwritten(campaign.id, session=session),
        cost=endpoint_answers.total_cost(campaign.id, session=session),
    )


def count_items(campaign_id: int, *, session: Session) -> int:
    """The number of a campaign's prompts, times samples."""
    query = select(func.count()).select_from(Conversation).where(Conversation.campaign_id == campaign_id)
    return session.scalar(query) or 0


def contenders(campaign_id: int, *, session: Session) -> list[Contender]:
    """The contenders of a campaign, in the order of their positions."""
    found = campaigns.first_conversation(campaign_id, session=session)
    return [] if found is None else list(found.contenders)


def _seconds_left(campaign: Campaign, waiting: int) -> float | None:
    if not campaign.answered or not waiting:
        return None
    return waiting * campaign.answering_seconds / campaign.answered


def _answers(campaign_id: int, *, session: Session) -> dict[GenerationStatus, int]:
    query = (
        select(Generation.status, func.count())
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id)
        .group_by(Generation.status)
    )
    return {status: count for status, count in session.execute(query)}


def _tasks(campaign_id: int, *, session: Session) -> dict[TaskStatus, int]:
    query = select(Task.status, func.count()).where(Task.campaign_id == campaign_id).group_by(Task.status)
    found = {status: count for status, count in session.execute(query)}
    return {status: found.get(status, 0) for status in TaskStatus}


def _pairs(campaign: Campaign, *, session: Session) -> list[PairProgress]:
    """Votes by pair. Tasks that failed or have identical answers want none."""
    wanting = Task.status.in_([TaskStatus.WAITING, TaskStatus.READY])
    tasks = (
        select(Task.first, Task.second, func.count())
        .where(Task.campaign_id == campaign.id, wanting)
        .group_by(Task.first, Task.second)
    )
    votes = (
        select(Task.first, Task.second, func.count())
        .join(Slot, and_(Slot.comparison_id == Task.comparison_id, Slot.status == SlotStatus.VOTED))
        .where(Task.campaign_id == campaign.id, Slot.kind == SlotKind.TASK)
        .group_by(Task.first, Task.second)
    )
    cast = {(first, second): count for first, second, count in session.execute(votes)}
    names = {contender.position: contender.name for contender in contenders(campaign.id, session=session)}
    rows = sorted(session.execute(tasks), key=lambda row: (row[0] or 0, row[1] or 0))
    return [
        PairProgress(
            "" if first is None else names[first],
            "" if second is None else names[second],
            cast.get((first, second), 0),
            count * campaign.votes_wanted,
        )
        for first, second, count in rows
    ]


def _people(campaign: Campaign, *, session: Session) -> list[PersonProgress]:
    """Everybody with a vote or a skip, and those who are named as voters; the most votes first."""
    query = (
        select(User.name, Slot.status, Label.seconds)
        .join(Slot, Slot.user_id == User.id)
        .join(Task, Slot.comparison_id == Task.comparison_id)
        .outerjoin(Label, and_(Label.comparison_id == Slot.comparison_id, Label.user_id == Slot.user_id))
        .where(Task.campaign_id == campaign.id, Slot.status != SlotStatus.OPEN, Slot.kind == SlotKind.TASK)
    )
    rows: dict[str, list[tuple[SlotStatus, float | None]]] = {name: [] for name in campaign.voters}
    for name, status, seconds in session.execute(query):
        rows.setdefault(name, []).append((status, seconds))
    people = [_person(name, slots) for name, slots in rows.items()]
    return sorted(people, key=lambda person: (-person.votes, person.name))


def to_go(campaign: Campaign, names: Sequence[str], *, session: Session) -> dict[str, int]:
    """The comparisons that each person holds or can still get; none in a closed campaign."""
    if campaign.status is CampaignStatus.CLOSED:
        return dict.fromkeys(names, 0)
    ids = {name: users.find(name, session=session) or NOBODY for name in names}
    return {name: _left(campaign, user_id, session=session) for name, user_id in ids.items()}


def _left(campaign: Campaign, user_id: int, *, session: Session) -> int:
    tasks = select(func.count()).select_from(Task)
    available = tasks.where(*slot_conditions.available(campaign, user_id))
    held = tasks.join(Slot, Slot.comparison_id == Task.comparison_id).where(
        Task.campaign_id == campaign.id,
        Slot.user_id == user_id,
        Slot.status == SlotStatus.OPEN,
        Slot.kind == SlotKind.TASK,
    )
    return (session.scalar(available) or 0) + (session.scalar(held) or 0)


def _person(name: str, slots: Sequence[tuple[SlotStatus, float | None]]) -> PersonProgress:
    votes = [seconds for status, seconds in slots if status is SlotStatus.VOTED]
    measured = [seconds for seconds in votes if seconds is not None]
    return PersonProgress(name, len(votes), len(slots) - len(votes), median(measured) if measured else None)


def _failures(campaign_id: int, *, session: Session) -> list[str]:
    query = (
        select(Generation.error)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id, Generation.status == GenerationStatus.FAILED)
        .distinct()
        .limit(FAILURES_SHOWN)
    )
    return [error for error in session.scalars(query) if error]
