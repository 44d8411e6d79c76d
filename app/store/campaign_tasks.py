"""Tasks of a campaign: when the answers are written, each task is ready, identical or failed."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, defer, lazyload

from app.store import judging
from app.store.enums import TaskStatus
from app.store.generations import unfinished
from app.store.models import Comparison, Generation, Task

BATCH = 200


def settle(source_ids: Collection[int], *, session: Session) -> None:
    """Decide the waiting tasks of comparisons whose answers are all over.

    Args:
        source_ids: ids of the comparisons that workers answer. Those with unfinished answers are left.
    """
    answers = _answers_over(sorted(source_ids), session=session)
    source = func.coalesce(Comparison.source_id, Comparison.id)
    query = (
        select(Task, source, Comparison.shown_order)
        .join(Comparison, Task.comparison_id == Comparison.id)
        .where(Task.status == TaskStatus.WAITING, _shows(sorted(answers)))
    )
    for task, source_id, positions in session.execute(query):
        last = answers[source_id]
        task.status = _status([last[position] for position in positions if position in last], len(positions))
    session.flush()


def settle_waiting(campaign_id: int, *, session: Session) -> None:
    """As `settle`, for up to `BATCH` answered comparisons of a campaign whose worker died before it."""
    source = func.coalesce(Comparison.source_id, Comparison.id)
    query = (
        select(source)
        .join(Task, Task.comparison_id == Comparison.id)
        .where(
            Task.campaign_id == campaign_id,
            Task.status == TaskStatus.WAITING,
            source.not_in(select(Generation.comparison_id).where(unfinished(), _of_campaign(campaign_id))),
        )
    )
    waiting = session.scalars(query.distinct().limit(BATCH)).all()
    if waiting:
        settle(waiting, session=session)


def _of_campaign(campaign_id: int) -> ColumnElement[bool]:
    return Generation.comparison_id.in_(select(Comparison.id).where(Comparison.campaign_id == campaign_id))


def _shows(source_ids: Sequence[int]) -> ColumnElement[bool]:
    """The condition for comparisons that show the answers of one of these."""
    return or_(Comparison.id.in_(source_ids), Comparison.source_id.in_(source_ids))


def _answers_over(source_ids: Sequence[int], *, session: Session) -> dict[int, dict[int, Generation]]:
    """The last takes by position, for each comparison whose answers are all over."""
    query = (
        select(Generation)
        .options(lazyload(Generation.prompt), defer(Generation.token_logps), defer(Generation.parameters))
        .where(Generation.comparison_id.in_(source_ids))
        .order_by(Generation.take)
        .execution_options(populate_existing=True)
    )
    found: dict[int, dict[int, Generation]] = defaultdict(dict)
    for row in session.scalars(query):
        found[row.comparison_id or 0][row.position or 0] = row
    return {key: last for key, last in found.items() if all(row.status.is_over for row in last.values())}


def _status(answers: Sequence[Generation], wanted: int) -> TaskStatus:
    if len(answers) < wanted or judging.why_not_votable(answers):
        return TaskStatus.FAILED
    return TaskStatus.IDENTICAL if len({answer.text for answer in answers}) == 1 else TaskStatus.READY


def count(campaign_id: int, status: TaskStatus, *, session: Session) -> int:
    """The number of a campaign's tasks in a state."""
    query = select(func.count()).select_from(Task)
    return session.scalar(query.where(Task.campaign_id == campaign_id, Task.status == status)) or 0
