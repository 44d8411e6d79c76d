"""Who has seen the names of a comparison: the one place that says whether they are hidden from a person.

In a blind conversation names stay hidden from everybody for each question by itself, until they were shown
to that person: after the own vote, or because the person asked for them. Each question has its own order of
sides, so that names seen at one say nothing about the next. Only questions that each contender continues
with its own answers keep the order of the question before; their names are seen together.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store import users
from app.store.models import Comparison, Conversation, Label, User
from app.store.vote_models import NamesSeen

BATCH = 500


def order_of_sides(conversation: Conversation, continued: Comparison | None) -> list[int]:
    """Positions in the order shown. Answers that continue their own keep their sides: they are recognised."""
    if continued is not None:
        return list(continued.shown_order)
    positions = [contender.position for contender in conversation.contenders]
    if conversation.blind:
        random.SystemRandom().shuffle(positions)
    return positions


def hidden(comparison: Comparison, user: str, *, session: Session) -> bool:
    """Whether a person may not see yet who wrote the answers of a comparison."""
    return bool(hidden_among([comparison], user, session=session))


def hidden_among(comparisons: Collection[Comparison], user: str, *, session: Session) -> set[int]:
    """Ids of those comparisons whose names a person may not see yet."""
    blind = {comparison.id for comparison in comparisons if comparison.conversation.blind}
    return blind - seen_among(blind, user, session=session)


def seen_among(comparison_ids: Collection[int], user: str, *, session: Session) -> set[int]:
    """Those of the comparisons whose names were shown to a person."""
    found: set[int] = set()
    for batch in _batches(sorted(comparison_ids)):
        query = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id)
        found |= set(session.scalars(query.where(User.name == user, NamesSeen.comparison_id.in_(batch))))
    return found


def visible_to(user: str) -> ColumnElement[bool]:
    """The condition on votes (`labels`) that a person may see the names of."""
    return or_(Label.open, seen_by(user))


def hidden_from(user: str) -> ColumnElement[bool]:
    """The opposite of `visible_to`, as an anti-join: PostgreSQL counts such votes a quarter faster."""
    seen = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id).where(User.name == user)
    return and_(~Label.open, ~seen.where(NamesSeen.comparison_id == Label.comparison_id).exists())


def seen_by(user: str) -> ColumnElement[bool]:
    """The condition on votes that a person has seen the names of, blind at first."""
    seen = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id).where(User.name == user)
    return Label.comparison_id.in_(seen)


def record(
    comparison_ids: Collection[int], user: str, *, session: Session, user_id: int | None = None
) -> None:
    """Remember that a person was shown the names of comparisons, and of what is told apart together.

    Args:
        user_id: the person's id, where it is known already.
    """
    if not comparison_ids:
        return
    user_id = user_id or users.ensure(user, session=session).id
    for batch in _batches(sorted(comparison_ids)):
        _insert([(user_id, comparison_id) for comparison_id in _told_together(batch, session)], session)


def inherit(comparison: Comparison, earlier: Comparison, *, session: Session) -> None:
    """Who saw the names of an earlier question knows those of one with the same order of sides."""
    seen_by = session.scalars(select(NamesSeen.user_id).where(NamesSeen.comparison_id == earlier.id))
    _insert([(user_id, comparison.id) for user_id in seen_by], session)


def _told_together(comparison_ids: Sequence[int], session: Session) -> set[int]:
    """The comparisons, and those of their conversations that keep the same order of sides."""
    conversations = select(Comparison.conversation_id).where(Comparison.id.in_(comparison_ids))
    rows = session.execute(
        select(Comparison.id, Comparison.turn, Comparison.continues_from)
        .where(Comparison.conversation_id.in_(conversations))
        .order_by(Comparison.conversation_id, Comparison.turn)
    )
    groups: list[set[int]] = []
    for comparison_id, turn, continues_from in rows:
        if turn == 0 or continues_from is not None:
            groups.append(set())
        groups[-1].add(comparison_id)
    wanted = set(comparison_ids)
    return wanted.union(*(group for group in groups if group & wanted))


def _insert(rows: Sequence[tuple[int, int]], session: Session) -> None:
    """Two tabs may show the same names at once; the first row stays."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = [{"user_id": user_id, "comparison_id": comparison_id} for user_id, comparison_id in rows]
    if values:
        session.execute(kind.insert(NamesSeen.__table__).on_conflict_do_nothing(), values)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
