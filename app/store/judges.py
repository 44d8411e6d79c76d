"""Automatic judges: their verdicts are rows of their own, never votes."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session, aliased

from app.errors import NotFound
from app.store.enums import GenerationStatus, VerdictStatus
from app.store.models import Comparison, Generation, Judge, JudgeReply, JudgeVerdict

ROWS = 500
"""Rows of one INSERT."""


def get(judge_id: int, *, session: Session) -> Judge:
    """One judge.

    Raises:
        NotFound: when the id does not exist.
    """
    judge = session.get(Judge, judge_id)
    if judge is None:
        raise NotFound(f"There is no judge {judge_id}; the pages of campaigns and runs list their judges.")
    return judge


def of_campaign(campaign_id: int, *, session: Session) -> Sequence[Judge]:
    """The judges of a campaign, oldest first."""
    return session.scalars(select(Judge).where(Judge.campaign_id == campaign_id).order_by(Judge.id)).all()


def like(judge: Judge, *, session: Session) -> Judge | None:
    """A stored judge of the same campaign or run that is asked in the same way."""
    same = (
        Judge.campaign_id,
        Judge.run_id,
        Judge.kind,
        Judge.name,
        Judge.model,
        Judge.template,
        Judge.seed,
        Judge.max_tokens,
    )
    query = select(Judge).where(*(column.is_not_distinct_from(getattr(judge, column.key)) for column in same))
    return session.scalars(query.limit(1)).first()


# --- verdicts: queued -> judged | unparsable | failed | stopped ---------------------------------


class Pair(NamedTuple):
    """Two answers to one prompt: the comparison that holds them, and the contenders' positions."""

    source_id: int
    first: int
    second: int


def queue(judge: Judge, *, session: Session) -> int:
    """Queue the pairs of a campaign that have no verdict yet, and those that were stopped or failed.

    Only pairs of finished answers that differ are judged.

    Returns:
        Their number.
    """
    assert judge.campaign_id is not None
    query = select(JudgeVerdict.source_id, JudgeVerdict.first, JudgeVerdict.second)
    known = {tuple(row) for row in session.execute(query.where(JudgeVerdict.judge_id == judge.id))}
    fresh = [
        {"judge_id": judge.id, "attempt": 0, "status": VerdictStatus.QUEUED, **pair._asdict()}
        for pair in _judgeable(judge.campaign_id, session=session)
        if pair not in known
    ]
    for start in range(0, len(fresh), ROWS):
        session.execute(insert(JudgeVerdict), fresh[start : start + ROWS])
    return len(fresh) + queue_again(judge, session=session)


def queue_again(judge: Judge, *, session: Session) -> int:
    """stopped or failed -> queued, for all verdicts of a judge; return their number."""
    again = session.execute(
        update(JudgeVerdict)
        .where(
            JudgeVerdict.judge_id == judge.id,
            JudgeVerdict.status.in_([VerdictStatus.STOPPED, VerdictStatus.FAILED]),
        )
        .values(status=VerdictStatus.QUEUED, error=None, attempt=0, sent_at=None)
    )
    return int(again.rowcount)  # type: ignore[attr-defined]


def _judgeable(campaign_id: int, *, session: Session) -> Iterator[Pair]:
    query = (
        select(Generation.comparison_id, Generation.position, Generation.text)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(
            Comparison.campaign_id == campaign_id,
            Generation.status == GenerationStatus.FINISHED,
        )
        .order_by(Generation.comparison_id, Generation.position)
    )
    texts: dict[int, dict[int, str]] = {}
    for source_id, position, text in session.execute(query):
        texts.setdefault(source_id or 0, {})[position or 0] = text
    for source_id, written in texts.items():
        for first, second in combinations(written, 2):
            if written[first] != written[second]:
                yield Pair(source_id, first, second)


def stop(judge_id: int, *, session: Session) -> None:
    """queued -> stopped, for all verdicts of a judge. Replies on their way are kept."""
    session.execute(
        update(JudgeVerdict)
        .where(JudgeVerdict.judge_id == judge_id, JudgeVerdict.status == VerdictStatus.QUEUED)
        .values(status=VerdictStatus.STOPPED)
    )


def counts(judge_ids: Sequence[int], *, session: Session) -> dict[int, dict[VerdictStatus, int]]:
    """The number of verdicts by judge and state."""
    found = {judge_id: dict.fromkeys(VerdictStatus, 0) for judge_id in judge_ids}
    query = (
        select(JudgeVerdict.judge_id, JudgeVerdict.status, func.count())
        .where(JudgeVerdict.judge_id.in_(judge_ids))
        .group_by(JudgeVerdict.judge_id, JudgeVerdict.status)
    )
    for judge_id, status, number in session.execute(query):
        found[judge_id][status] = number
    return found


def failures(judge_id: int, *, session: Session, limit: int = 5) -> list[str]:
    """The distinct reasons of failed verdicts."""
    query = select(JudgeVerdict.error).where(
        JudgeVerdict.judge_id == judge_id, JudgeVerdict.status == VerdictStatus.FAILED
    )
    return [error for error in session.scalars(query.distinct().limit(limit)) if error]


class Cost(NamedTuple):
    """Replies that were asked for a judge, and what they cost: None where a price or a count is unknown."""

    replies: int
    cost: float | None


def cost(judge_id: int, *, session: Session) -> Cost:
    """What a judge's own replies cost; replies of others that it reuses cost nothing."""
    query = select(func.count(), func.count(JudgeReply.cost), func.sum(JudgeReply.cost))
    replies, known, total = session.execute(query.where(JudgeReply.judge_id == judge_id)).one()
    return Cost(replies, (total or 0.0) if replies == known else None)


# --- what they say ------------------------------------------------------------------------------


class Decided(NamedTuple):
    """A verdict with an outcome. `length` is the first answer's length minus the second's, in characters."""

    source_id: int
    prompt_id: int
    first: int
    second: int
    outcome: str
    flipped: bool
    length: int


def decided(judge_id: int, *, session: Session) -> list[Decided]:
    """The verdicts of a judge that have an outcome, in order."""
    one, other = aliased(Generation), aliased(Generation)
    query = (
        select(
            JudgeVerdict.source_id,
            one.prompt_id,
            JudgeVerdict.first,
            JudgeVerdict.second,
            JudgeVerdict.outcome,
            JudgeVerdict.flipped,
            func.length(one.text) - func.length(other.text),
        )
        .join(one, (one.comparison_id == JudgeVerdict.source_id) & (one.position == JudgeVerdict.first))
        .join(
            other, (other.comparison_id == JudgeVerdict.source_id) & (other.position == JudgeVerdict.second)
        )
        .where(JudgeVerdict.judge_id == judge_id, JudgeVerdict.status == VerdictStatus.JUDGED)
        .order_by(JudgeVerdict.id)
    )
    return [Decided(*row) for row in session.execute(query)]


class WholeVerdict(NamedTuple):
    """A verdict with its question and the text of both replies."""

    verdict: JudgeVerdict
    question: str
    forward: str | None
    backward: str | None


def page(judge_id: int, *, session: Session, limit: int, after: int = 0) -> list[WholeVerdict]:
    """Verdicts of a judge with an id above `after`, in order (keyset pagination)."""
    forward, backward = aliased(JudgeReply), aliased(JudgeReply)
    query = (
        select(JudgeVerdict, Comparison.question, forward.text, backward.text)
        .join(Comparison, JudgeVerdict.source_id == Comparison.id)
        .outerjoin(forward, JudgeVerdict.forward_id == forward.id)
        .outerjoin(backward, JudgeVerdict.backward_id == backward.id)
        .where(JudgeVerdict.judge_id == judge_id, JudgeVerdict.id > after)
        .order_by(JudgeVerdict.id)
        .limit(limit)
    )
    return [WholeVerdict(*row) for row in session.execute(query)]
