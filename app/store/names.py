"""Visibility of names: the only module that decides whether a comparison's names are hidden from a person.

In a blind conversation, the names of each question are hidden from a person until that person votes on it
or asks to see them. Each question has its own order of sides, so names seen at one question reveal nothing
about the next. If each contender continues its own answer, the question keeps the order of the previous
one, and the names of both are revealed together.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store import users
from app.store.models import Comparison, Conversation, Label, User
from app.store.vote_models import NamesSeen

BATCH = 500


def order_of_sides(conversation: Conversation, continued: Comparison | None) -> list[int]:
    """Positions in display order. Continued answers keep their sides: readers recognise them."""
    if continued is not None:
        return list(continued.shown_order)
    positions = [contender.position for contender in conversation.contenders]
    if conversation.blind:
        random.SystemRandom().shuffle(positions)
    return positions


def hidden(comparison: Comparison, user: str, *, session: Session) -> bool:
    """Whether the names of a comparison are still hidden from a person."""
    return bool(hidden_among([comparison], user, session=session))


def hidden_among(comparisons: Collection[Comparison], user: str, *, session: Session) -> set[int]:
    """Ids of the comparisons whose names are still hidden from a person."""
    blind = {comparison.id for comparison in comparisons if comparison.conversation.blind}
    return blind - seen_among(blind, user, session=session)


def seen_among(comparison_ids: Collection[int], user: str, *, session: Session) -> set[int]:
    """Ids of the comparisons whose names were shown to a person."""
    found: set[int] = set()
    for batch in _batches(sorted(comparison_ids)):
        query = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id)
        found |= set(session.scalars(query.where(User.name == user, NamesSeen.comparison_id.in_(batch))))
    return found


def seen_in_campaign(campaign_id: int, user: str, *, session: Session) -> bool:
    """Whether the names of all comparisons of a campaign were shown to a person, who can vote on none."""
    user_id = users.find(user, session=session)
    query = _whole_campaign(campaign_id).where(NamesSeen.user_id == user_id)
    return user_id is not None and session.scalar(query) is not None


def who_has_seen(campaign_id: int, *, session: Session) -> Sequence[int]:
    """Ids of the people to whom the names of all comparisons of a campaign were shown."""
    return session.scalars(_whole_campaign(campaign_id)).all()


def _whole_campaign(campaign_id: int) -> Select[int]:
    """Ids of the people who have seen as many comparisons of a campaign as it has."""
    of_campaign = Comparison.campaign_id == campaign_id
    everything = select(func.count()).select_from(Comparison).where(of_campaign).scalar_subquery()
    return (
        select(NamesSeen.user_id)
        .join(Comparison, NamesSeen.comparison_id == Comparison.id)
        .where(of_campaign)
        .group_by(NamesSeen.user_id)
        .having(func.count() == everything)
    )


def visible_to(user: str) -> ColumnElement[bool]:
    """The condition for votes (`labels`) whose names a person may see."""
    return or_(Label.open, seen_by(user))


def hidden_from(user: str) -> ColumnElement[bool]:
    """The negation of `visible_to`, as an anti-join: PostgreSQL counts these votes a quarter faster."""
    seen = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id).where(User.name == user)
    return and_(~Label.open, ~seen.where(NamesSeen.comparison_id == Label.comparison_id).exists())


def seen_by(user: str) -> ColumnElement[bool]:
    """The condition for votes on comparisons whose names were shown to a person."""
    seen = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id).where(User.name == user)
    return Label.comparison_id.in_(seen)


def record(comparison_ids: Collection[int], user: str, *, session: Session) -> None:
    """Record that a person saw the names of comparisons, and of others with the same order of sides."""
    if comparison_ids:
        record_of(users.ensure(user, session=session).id, comparison_ids, session=session)


def record_of(user_id: int, comparison_ids: Collection[int], *, session: Session) -> None:
    """Record the same of a person whose id is known."""
    for batch in _batches(sorted(comparison_ids)):
        _insert([(user_id, comparison_id) for comparison_id in _told_together(batch, session)], session)


def inherit(comparison: Comparison, earlier: Comparison, *, session: Session) -> None:
    """Mark names as shown to everybody who saw those of an earlier question with the same order of sides."""
    seen_by = session.scalars(select(NamesSeen.user_id).where(NamesSeen.comparison_id == earlier.id))
    _insert([(user_id, comparison.id) for user_id in seen_by], session)


def _told_together(comparison_ids: Sequence[int], session: Session) -> set[int]:
    """The comparisons, and those of the same conversations that share their order of sides."""
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
    """Insert rows and ignore duplicates: two tabs may show the same names at once."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = [{"user_id": user_id, "comparison_id": comparison_id} for user_id, comparison_id in rows]
    if values:
        session.execute(kind.insert(NamesSeen.__table__).on_conflict_do_nothing(), values)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
