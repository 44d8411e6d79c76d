"""Search of all finished generations by their text, prompt and origin; the database finds, sorts and pages.

Whoever reads sees what the other pages show as well: samples of runs, the own chats, and the answers of a
campaign. Answers whose names are still hidden from the reader are in no list. Beside a probe answer with the
same text, or in an order by a number, each would tell who wrote it.

How a page is found depends on the smallest part of the filter (generation_sets.py). Few rows are read and
sorted. Otherwise the index of the order is walked, and each row is tested until the page is full.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.store import users
from app.store.enums import GenerationKind, GenerationStatus
from app.store.generation_filter import GenerationFilter, GenerationOrigin, GenerationSort, Place
from app.store.generation_sets import FEW, Part, Stream, parts, plain, size_of
from app.store.models import Comparison, Conversation, Generation, NamesSeen, Run

MOST_COUNTED: Final = 10_000
MOST_READ: Final = 20_000
"""Matches are counted up to the first number, among at most the second number of rows."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of generations by id, in order, and the place where the next page begins; None on the last."""

    ids: list[int]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Count:
    """A number of matches; with `more`, there are more than that."""

    number: int
    more: bool


def find(
    only: GenerationFilter,
    *,
    session: Session,
    viewer: str,
    sort: GenerationSort = GenerationSort.NEWEST,
    ascending: bool = False,
    limit: int = 50,
    after: Place | None = None,
) -> Found:
    """A page of the generations that match and that a person may see.

    Args:
        after: the place of the last row of the previous page.

    Raises:
        InvalidInput: for a filter that cannot be searched for.
    """
    only.check()
    me = users.find(viewer, session=session)
    found, rest = parts(only, me, session), [_over(), _visible(me), *_rest(only)]
    page = partial(_page, sort=sort, ascending=ascending, limit=limit, after=after, session=session)
    if found and found[0].size <= FEW:
        return page(rest + _driven(found), indexed=False)
    if sort is GenerationSort.NEWEST:
        stream = next((part.stream for part in found if part.stream is not None), None)
        if stream is not None:
            return page(rest + [part.test for part in found if part.stream is None], stream=stream)
        if found and found[0].slices:
            others = [part.test for part in found[1:]]
            return _merged([page([*rest, one, *others]) for one in found[0].slices], limit, ascending)
    return page(rest + [part.walked for part in found])


def _merged(pages: list[Found], limit: int, ascending: bool) -> Found:
    """The first page of several lists, each sorted by id."""
    ids = sorted({id_ for page in pages for id_ in page.ids}, reverse=not ascending)
    more = len(ids) > limit or any(page.next is not None for page in pages)
    shown = ids[:limit]
    return Found(shown, Place(float(shown[-1]), shown[-1]) if more else None)


def _driven(found: list[Part]) -> list[ColumnElement[bool]]:
    """The conditions for the rows of the first part that are in all others."""
    first, *others = found
    return [first.driving, *(part.test_of(first.size) for part in others)]


def _page(
    conditions: list[ColumnElement[bool]],
    *,
    sort: GenerationSort,
    ascending: bool,
    limit: int,
    after: Place | None,
    session: Session,
    indexed: bool = True,
    stream: Stream | None = None,
) -> Found:
    """A page of the rows under some conditions, by the index of the order unless the rows are few."""
    key: ColumnElement[Any] = sort.column if indexed else plain(sort.column)
    id_: ColumnElement[int] = Generation.id if indexed else plain(Generation.id)  # type: ignore[assignment]
    query = select(Generation.id, key.label("place"))
    if stream is not None:
        key = id_ = stream.row
        query = query.join_from(stream.index, Generation, Generation.id == stream.row)
        conditions = [*conditions, stream.matches]
    order = (id_,) if sort is GenerationSort.NEWEST else (key, id_)
    if sort is not GenerationSort.NEWEST:
        conditions = [*conditions, key.is_not(None)]
    if after is not None:
        here: Any = tuple_(*order) if len(order) > 1 else id_
        values = _values(sort, after)
        place: Any = tuple_(*map(literal, values)) if len(order) > 1 else literal(values[0])
        conditions = [*conditions, here > place if ascending else here < place]
    query = query.where(*conditions).limit(limit + 1)
    rows = session.execute(query.order_by(*(part if ascending else part.desc() for part in order))).all()
    shown = rows[:limit]
    following = Place(float(shown[-1].place), shown[-1].id) if len(rows) > limit else None
    return Found([row.id for row in shown], following)


def _values(sort: GenerationSort, place: Place) -> tuple[float | int, ...]:
    if sort is GenerationSort.NEWEST:
        return (place.id,)
    if sort is GenerationSort.TOKENS:
        if not place.value.is_integer() or abs(place.value) >= 2**31:
            raise InvalidInput("cursor must be the `next` of the previous page.", field="cursor")
        return (int(place.value), place.id)
    return (place.value, place.id)


def count(only: GenerationFilter, *, session: Session, viewer: str, shown: int = 0) -> Count:
    """The number of generations that match and that a person may see.

    Args:
        shown: a number of matches that are known; there are at least as many.
    """
    only.check()
    me = users.find(viewer, session=session)
    found, rest = parts(only, me, session), [_over(), _visible(me), *_rest(only)]
    if found and found[0].size <= FEW:
        return _up_to(select(Generation.id).where(*rest, *_driven(found)), session)
    if not found:
        return _up_to(_all(only, me, rest), session)
    ids = found[0].ids
    some = ids.limit(MOST_READ).subquery()
    tests = [part.test for part in found[1:]]
    matches = select(Generation.id).join(some, some.c.id == Generation.id).where(*rest, *tests)
    number = _up_to(matches, session)
    if number.more or size_of(ids, MOST_READ, session) <= MOST_READ:
        return number
    return Count(max(number.number, shown, 1) - 1, more=True)


def _all(only: GenerationFilter, me: int | None, rest: list[ColumnElement[bool]]) -> CompoundSelect[Any]:
    """The ids of the generations under some conditions, read without the answers in others' chats."""
    found = []
    samples = [kind for kind in only.kinds if kind is not GenerationKind.ANSWER]
    if samples:
        found.append(select(Generation.id).where(Generation.kind.in_(samples)))
    elif not only.kinds:
        found.append(select(Generation.id).where(Generation.comparison_id.is_(None)))
    if not only.kinds or GenerationKind.ANSWER in only.kinds:
        answers = select(Generation.id).join(Comparison, Generation.comparison_id == Comparison.id)
        own = answers.join(Conversation, Comparison.conversation_id == Conversation.id)
        found.append(own.where(Conversation.user_id == (me or 0), Conversation.campaign_id.is_(None)))
        seen = answers.join(NamesSeen, NamesSeen.comparison_id == Comparison.id)
        found.append(seen.where(NamesSeen.user_id == (me or 0), Comparison.campaign_id.is_not(None)))
    return union_all(*(some.where(*rest) for some in found))


def _up_to(rows: Select[Any] | CompoundSelect[Any], session: Session) -> Count:
    some = rows.limit(MOST_COUNTED + 1).subquery()
    number = session.scalar(select(func.count()).select_from(some)) or 0
    return Count(min(number, MOST_COUNTED), more=number > MOST_COUNTED)


def is_visible(generation_id: int, *, session: Session, viewer: str) -> bool:
    """Whether a person may open a generation: one that the list shows, or an answer of anybody's chat.

    Chats of others are in nobody's list, but open by their address, here as on the compare page. So do
    answers whose names are hidden, which the caller must not show.
    """
    me = users.find(viewer, session=session)
    query = select(Generation.id).where(Generation.id == generation_id, _over(), _visible(me, linked=True))
    return session.scalar(query) is not None


# --- conditions ------------------------------------------------------------------------------


def _rest(only: GenerationFilter) -> list[ColumnElement[bool]]:
    """The conditions of a filter that are no part by themselves: kinds, and samples of runs."""
    found: list[ColumnElement[bool]] = []
    if only.origin is GenerationOrigin.RUN:
        found.append(plain(Generation.comparison_id).is_(None))
    if only.kinds:
        found.append(Generation.kind.in_(only.kinds))
    return found


def _over() -> ColumnElement[bool]:
    return Generation.status.in_([GenerationStatus.FINISHED, GenerationStatus.STOPPED])


def _visible(me: int | None, *, linked: bool = False) -> ColumnElement[bool]:
    """The condition for generations that a list shows to a person.

    Args:
        linked: include the chats of others, and chats whose names are hidden from the person.
    """
    deleted = select(Run.id).where(Run.deleted_at.is_not(None))
    of_run = and_(Generation.comparison_id.is_(None), Generation.run_id.not_in(deleted))
    seen = exists().where(NamesSeen.comparison_id == Comparison.id, NamesSeen.user_id == (me or 0))
    own = Conversation.user_id == (me or 0), or_(~Conversation.blind, seen)
    chat = and_(Conversation.campaign_id.is_(None), *(() if linked else own))
    shown = or_(chat, and_(Conversation.campaign_id.is_not(None), seen))
    answered = (
        select(1)
        .select_from(Comparison)
        .join(Conversation, Comparison.conversation_id == Conversation.id)
        .where(Comparison.id == Generation.comparison_id, shown)
    )
    return or_(of_run, answered.exists())
