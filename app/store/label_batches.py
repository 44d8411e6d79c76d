"""Batches of votes by ascending id, for exports and training pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.store import adjudications, vote_details
from app.store.enums import Choice, GenerationStatus
from app.store.label_queries import VoteFilter, matching
from app.store.models import Adjudication, Comparison, Generation, Label, Prompt
from app.store.vote_details import Vote
from app.store.vote_rules import Answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """The parts of a training pair: a vote's best and worst answer, if any, and their prompt."""

    label_id: int
    comparison_id: int
    choice: Choice
    best: Answer | None
    worst: Answer | None
    prompt: Any


def after(
    last: int,
    *,
    session: Session,
    only: VoteFilter | None = None,
    viewer: str | None = None,
    limit: int = 200,
) -> list[Vote]:
    """Complete votes with ids above `last`, oldest first: one batch of an export."""
    query = matching(select(Label), only, viewer).where(Label.id > last).order_by(Label.id).limit(limit)
    return vote_details.of_labels(session.scalars(query).all(), session=session, viewer=viewer, whole=True)


def verdicts_after(
    last: int, *, session: Session, only: VoteFilter | None = None, limit: int = 1000
) -> list[Verdict]:
    """Verdicts of the votes with ids above `last`, oldest first: one batch of training pairs."""
    query = matching(_verdicts(Label), only).where(Label.id > last).order_by(Label.id).limit(limit)
    return [_verdict(row) for row in session.execute(query)]


def verdicts_on(
    comparison_ids: Sequence[int], *, session: Session, only: VoteFilter | None = None
) -> list[Verdict]:
    """Verdicts of the votes on comparisons, ordered by comparison."""
    query = matching(_verdicts(Label), only).where(Label.comparison_id.in_(comparison_ids))
    return [_verdict(row) for row in session.execute(query.order_by(Label.comparison_id, Label.id))]


def on(
    comparison_ids: Sequence[int],
    *,
    session: Session,
    only: VoteFilter | None = None,
    viewer: str | None = None,
) -> list[Vote]:
    """Complete votes on comparisons, ordered by comparison."""
    query = matching(select(Label), only, viewer).where(Label.comparison_id.in_(comparison_ids))
    found = session.scalars(query.order_by(Label.comparison_id, Label.id)).all()
    return vote_details.of_labels(found, session=session, viewer=viewer, whole=True)


def comparisons_after(
    last: int,
    *,
    session: Session,
    only: VoteFilter | None = None,
    viewer: str | None = None,
    limit: int = 200,
) -> Sequence[int]:
    """Ids above `last` of comparisons with votes, ascending."""
    query = matching(select(Label.comparison_id).distinct(), only, viewer).where(Label.comparison_id > last)
    return session.scalars(query.order_by(Label.comparison_id).limit(limit)).all()


def adjudicated(campaign_id: int, *, session: Session) -> list[Verdict]:
    """The adjudicated verdicts of a campaign; `label_id` is the verdict's own id."""
    query = _verdicts(Adjudication).join(Comparison, Adjudication.comparison_id == Comparison.id)
    query = query.where(adjudications.current(), Comparison.campaign_id == campaign_id)
    return [_verdict(row) for row in session.execute(query.order_by(Adjudication.id))]


def _verdicts(table: type[Label | Adjudication]) -> Any:
    best, worst = aliased(Generation), aliased(Generation)
    return (
        select(
            table.id, table.comparison_id, table.choice, *_counting(best), *_counting(worst), Prompt.content
        )
        .outerjoin(best, table.best_id == best.id)
        .outerjoin(worst, table.worst_id == worst.id)
        .outerjoin(Prompt, best.prompt_id == Prompt.id)
    )


def _verdict(row: Any) -> Verdict:
    label_id, comparison_id, choice, *rest = row
    return Verdict(label_id, comparison_id, choice, _answer(rest[:6]), _answer(rest[6:12]), rest[12])


def _counting(answer: Any) -> tuple[Any, ...]:
    return answer.id, answer.position, answer.prompt_id, answer.text, answer.complete, answer.status


def _answer(columns: Sequence[Any]) -> Answer | None:
    if columns[0] is None:
        return None
    answer_id, position, prompt_id, text, complete, status = columns
    ended = status is GenerationStatus.FINISHED
    return Answer(answer_id, position or 0, prompt_id, text, complete, ended)
