"""Adjudications: verdicts on comparisons on which voters differ, kept apart from the votes."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import clock, judging, names, tallies, users, votable
from app.store.adjudication_models import Adjudication, AdjudicationPair
from app.store.enums import Choice, WhyLeftOut
from app.store.models import Comparison, User
from app.store.vote_rules import Answer, Cast, facts_of


def current() -> ColumnElement[bool]:
    """The condition for adjudications that count."""
    return Adjudication.withdrawn_at.is_(None)


def decided() -> Select[int]:
    """The ids of the comparisons with a verdict, as a query."""
    return select(Adjudication.comparison_id).where(current())


def decide(
    comparison_id: int,
    *,
    session: Session,
    user: str,
    order: Sequence[int],
    choice: Choice,
    best: int | None = None,
    worst: int | None = None,
    reason: str = "",
) -> Adjudication:
    """Store a verdict. An own one that it replaces is kept.

    Args:
        order: the display order, as positions of contenders; `best` and `worst` are sides of it.

    Raises:
        InvalidInput: for sides that do not match the choice, or a reason that is too long.
        Refused: when the person has seen the names, or somebody else has decided.
    """
    comparison = votable.lock(comparison_id, session=session)
    if names.seen_among([comparison_id], user, session=session):
        raise Refused("You have seen which model wrote which answer, so a verdict would not be blind.")
    present = of_comparisons([comparison_id], session=session).get(comparison_id)
    if present is not None:
        author = author_of(present, session=session)
        if author != user:
            raise Refused(f"{author} has decided this comparison; that verdict must be taken back first.")
    answers = votable.answers(comparison, session=session, order=order)
    columns = judging.verdict(choice, best, worst, [answer.id for answer in answers])
    cast = Cast(**columns, conversation_id=comparison.conversation_id, open=False)
    counting = {answer.id: Answer.of(answer) for answer in answers}
    facts = facts_of(cast, counting)
    found = Adjudication(
        **columns,
        comparison_id=comparison_id,
        user_id=users.ensure(user, session=session).id,
        reason=judging.checked_reason(reason),
        left_out=facts["left_out"],
        cut=facts["cut"],
    )
    if present is not None:
        present.withdrawn_at = clock.now()
    session.add(found)
    session.flush()
    for row in tallies.outcomes(cast, counting, session=session):
        session.add(AdjudicationPair(adjudication_id=found.id, **row))
    session.flush()
    return found


def withdraw(comparison_id: int, *, session: Session) -> None:
    """Withdraw the verdict on a comparison; it is kept.

    Raises:
        NotFound: when there is none.
    """
    present = of_comparisons([comparison_id], session=session).get(comparison_id)
    if present is None:
        raise NotFound("This comparison has no verdict to take back.")
    present.withdrawn_at = clock.now()
    session.flush()


def decided_by(comparison_id: int, user_id: int, *, session: Session) -> bool:
    """Whether a person has ever given a verdict on a comparison, also one that was withdrawn."""
    mine = (Adjudication.comparison_id == comparison_id, Adjudication.user_id == user_id)
    return session.scalar(select(Adjudication.id).where(*mine).limit(1)) is not None


def of_comparisons(comparison_ids: Collection[int], *, session: Session) -> dict[int, Adjudication]:
    """The verdicts that count, by comparison."""
    if not comparison_ids:
        return {}
    query = select(Adjudication).where(current(), Adjudication.comparison_id.in_(sorted(comparison_ids)))
    return {found.comparison_id: found for found in session.scalars(query)}


def author_of(found: Adjudication, *, session: Session) -> str:
    """The name of the person who gave a verdict."""
    return session.get_one(User, found.user_id).name


def authors(campaign_id: int, *, session: Session) -> dict[int, str]:
    """Who has decided which comparison of a campaign."""
    query = (
        select(Adjudication.comparison_id, User.name)
        .join(User, Adjudication.user_id == User.id)
        .join(Comparison, Adjudication.comparison_id == Comparison.id)
        .where(current(), Comparison.campaign_id == campaign_id)
    )
    return {comparison_id: name for comparison_id, name in session.execute(query)}


def count_left_out(campaign_id: int, *, session: Session) -> dict[tuple[WhyLeftOut | None, bool], int]:
    """Count a campaign's verdicts as `label_queries.count_left_out` counts votes."""
    query = (
        select(Adjudication.left_out, Adjudication.cut, func.count())
        .join(Comparison, Adjudication.comparison_id == Comparison.id)
        .where(current(), Comparison.campaign_id == campaign_id)
        .group_by(Adjudication.left_out, Adjudication.cut)
    )
    return {(reason, cut): number for reason, cut, number in session.execute(query)}


def version(*, session: Session) -> tuple[int, datetime | None]:
    """Changes with every verdict, and with each that is withdrawn."""
    last = select(func.max(Adjudication.id)).scalar_subquery()
    withdrawn = select(func.max(Adjudication.withdrawn_at)).scalar_subquery()
    newest, withdrawn_at = session.execute(select(last, withdrawn)).one()
    return newest or 0, withdrawn_at
